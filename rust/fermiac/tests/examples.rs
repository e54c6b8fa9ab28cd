//! Runs the examples, which compare their results with known answers.

macro_rules! examples {
    ($($name:ident $path:literal),*) => {$(
        #[path = $path]
        mod $name;

        #[test]
        fn $name() -> fermiac::Result<()> {
            $name::main()
        }
    )*};
}

examples!(
    importance "../examples/importance.rs",
    mcmc "../examples/mcmc.rs",
    nested "../examples/nested.rs",
    privacy "../examples/privacy.rs",
    resample "../examples/resample.rs",
    score "../examples/score.rs",
    walks "../examples/walks.rs"
);
