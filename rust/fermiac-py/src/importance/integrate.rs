//! Bindings of `fermiac_importance::integrate`.

use crate::common::array::rows;
use crate::common::dict::{arrays, entry, items};
use crate::common::enter::{Raised, compute, enter};
use crate::common::error::check;
use crate::targets::target;
use fermiac_base::Error;
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_base::qmc::Scramble;
use fermiac_importance::OnNan;
use fermiac_importance::integrate::{
    Axis, AxisMap, Ends, Frame, Integral, Method, Points, Region, Sampler, Settings, Source, Step,
    integrate, mixture_of,
};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's items to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<IntegralSampler>()?;
    m.add_function(wrap_pyfunction!(importance_integrate, m)?)
}

/// A trained sampler of an integral.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct IntegralSampler {
    inner: Sampler,
}

fn ends_of(word: &str) -> fermiac_base::Result<Ends> {
    match word {
        "finite" => Ok(Ends::Finite),
        "half" => Ok(Ends::Half),
        "infinite" => Ok(Ends::Infinite),
        other => Err(Error::argument("sampler", format!("it has an axis '{other}'"))),
    }
}

fn build(state: &Bound<'_, PyAny>) -> PyResult<fermiac_base::Result<Sampler>> {
    let (origin, scale): (Vec<f64>, Vec<f64>) = (entry(state, "origin")?, entry(state, "scale")?);
    let ends: Vec<String> = entry(state, "ends")?;
    let (kind, share): (String, f64) = (entry(state, "kind")?, entry(state, "share")?);
    let (knots, lengths): (Vec<f64>, Vec<usize>) =
        (entry(state, "knots")?, entry(state, "n_knots")?);
    let (mean, factor): (Vec<f64>, Vec<f64>) = (entry(state, "centre")?, entry(state, "axes")?);
    let parts: Vec<usize> = entry(state, "parts")?;
    let (means, covariances): (Vec<f64>, Vec<f64>) =
        (entry(state, "means")?, entry(state, "covariances")?);
    let make = || {
        let damaged = |what: &str| Error::argument("sampler", format!("its {what} is damaged"));
        let d = origin.len();
        if d == 0 || scale.len() != d || ends.len() != d {
            return Err(damaged("box"));
        }
        let mut axes = Vec::with_capacity(d);
        for ((origin, scale), ends) in origin.iter().zip(&scale).zip(&ends) {
            if !(origin.is_finite() && scale.is_finite() && *scale != 0.0) {
                return Err(damaged("box"));
            }
            axes.push(Axis { origin: *origin, scale: *scale, ends: ends_of(ends)? });
        }
        let maps = || {
            if lengths.len() != d || lengths.iter().sum::<usize>() != knots.len() {
                return Err(damaged("map"));
            }
            let mut rest = knots.as_slice();
            lengths
                .iter()
                .map(|n| {
                    let (own, others) = rest.split_at(*n);
                    rest = others;
                    let rises = own.windows(2).all(|pair| pair[0] < pair[1]);
                    let whole = own.first() == Some(&0.0) && own.last() == Some(&1.0);
                    if rises && whole {
                        Ok(AxisMap::new(own.to_vec()))
                    } else {
                        Err(damaged("map"))
                    }
                })
                .collect::<fermiac_base::Result<Vec<_>>>()
        };
        let source = match kind.as_str() {
            "uniform" => Source::Uniform,
            "map" => Source::Map(maps()?),
            "rotated" => {
                if mean.len() != d || factor.len() != d * d {
                    return Err(damaged("frame"));
                }
                Source::Rotated(Frame::of(mean.clone(), factor.clone())?, maps()?)
            }
            "mixture" => {
                if means.len() != parts.len() * d {
                    return Err(damaged("mixture"));
                }
                Source::Mixture(Box::new(mixture_of(parts.clone(), &means, &covariances)?))
            }
            _ => return Err(damaged("kind")),
        };
        let right = if kind == "uniform" { 1.0 } else { 0.125 };
        if share != right {
            return Err(damaged("share"));
        }
        Ok(Sampler { region: Region { axes }, source, share })
    };
    Ok(make())
}

#[door]
#[pymethods]
impl IntegralSampler {
    #[new]
    fn new(py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { inner: check(py, build(state)?)? })
    }

    /// The log-density at the rows of a C-contiguous (n, d) array.
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let x = rows(&x, self.inner.dim())?;
        let out = by_chunks(py, x, |part, out| {
            out.resize(part.len(), 0.0);
            self.inner.log_density(part.data(), out);
        })?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The points of the rows of a C-contiguous (n, d) array of uniform numbers.
    fn map_unit<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let u = rows(&u, self.inner.dim())?;
        let out = by_chunks(py, u, |part, out| *out = self.inner.map_unit(part.data()))?;
        PyArray1::from_vec(py, out).reshape([u.len(), self.inner.dim()])
    }
}

/// Numbers for the rows of `x`, in chunks between which a call can be stopped.
pub(super) fn by_chunks(
    py: Python<'_>,
    x: Rows<'_>,
    of: impl Fn(Rows<'_>, &mut Vec<f64>) + Sync + Send,
) -> PyResult<Vec<f64>> {
    let d = x.dim();
    compute(py, 1, |context| {
        let mut values = Vec::new();
        context.ordered(
            x.len().div_ceil(CHUNK),
            |c| {
                let part = c * CHUNK * d..((c + 1) * CHUNK).min(x.len()) * d;
                let mut out = Vec::new();
                of(Rows::new(&x.data()[part], d), &mut out);
                Ok(out)
            },
            |_, part| {
                values.extend(part);
                Ok(())
            },
        )?;
        Ok(values)
    })
}

fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let unknown =
        |what: &str, given: &str| Err(PyValueError::new_err(format!("unknown {what} '{given}'")));
    let sampler: Option<Py<IntegralSampler>> = entry(options, "sampler")?;
    Ok(Settings {
        n: entry(options, "n")?,
        method: match entry::<String>(options, "method")?.as_str() {
            "auto" => Method::Auto,
            "sobol" => Method::Sobol,
            "map" => Method::Map,
            "mixture" => Method::Mixture,
            "rotated" => Method::Rotated,
            "stratified" => Method::Stratified,
            "mc" => Method::MonteCarlo,
            other => return unknown("method", other),
        },
        points: match entry::<String>(options, "points")?.as_str() {
            "sobol" => Points::Sobol,
            "random" => Points::Random,
            other => return unknown("points", other),
        },
        pilot_fraction: entry(options, "pilot_fraction")?,
        n_replicates: entry(options, "n_replicates")?,
        scramble: match Scramble::named(&entry::<String>(options, "scramble")?) {
            Some(scramble) => scramble,
            None => return unknown("scramble", ""),
        },
        tolerance: entry(options, "tolerance")?,
        sampler: sampler.map(|sampler| sampler.get().inner.clone()),
        polynomials: entry(options, "polynomials")?,
        on_nan: match entry::<String>(options, "on_nan")?.as_str() {
            "raise" => OnNan::Raise,
            "zero" => OnNan::Zero,
            other => return unknown("on_nan", other),
        },
        keep_draws: entry(options, "keep_draws")?,
        key: entry(options, "key")?,
    })
}

/// Runs `integrate`. Returns (result or None, exception or None): an interrupted run may have both.
/// `pairs` is called without arguments once the integrand was evaluated.
#[door]
#[pyfunction]
#[pyo3(signature = (integrand, bounds, options, pairs, n_threads, progress=None))]
fn importance_integrate<'py>(
    py: Python<'py>,
    integrand: &Bound<'py, PyAny>,
    bounds: Vec<(f64, f64)>,
    options: &Bound<'py, PyAny>,
    pairs: Py<PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Option<Bound<'py, PyDict>>, Option<PyErr>)> {
    let settings = settings(options)?;
    let region = check(py, Region::new(&bounds))?;
    let raised = Raised::default();
    let integrand = target::integrand(integrand, &raised)?;
    let pairs = || {
        Python::attach(|py| pairs.call0(py).and_then(|is| is.extract::<bool>(py)).unwrap_or(false))
    };
    let outcome = enter(py, n_threads, progress.as_ref(), &raised, |context| {
        integrate(integrand.as_ref(), &region, &settings, &pairs, context)
    });
    let (done, error) = match outcome {
        Ok(done) => (Some(done), None),
        Err(stopped) => (stopped.partial.map(|p| *p), Some(stopped.error)),
    };
    Ok((done.map(|done| to_dict(py, done, region.dim())).transpose()?, error))
}

fn to_dict(py: Python<'_>, e: Integral, dim: usize) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    let k = e.n_outputs;
    let count = e.replicates.len() / k;
    raw.set_item("replicates", e.replicates.into_pyarray(py).reshape([count, k])?)?;
    arrays! { raw <- e:
        ess khat max_share max_variance_share resolution jump all_zero base_mean base_stderr base_ess
        zero_share unseen log_weights
    }
    items! { raw <- e:
        n_per_replicate is_net chosen n_base n_looks converged n_evals n_non_finite
    }
    let n = e.draws.len() / dim;
    raw.set_item("draws", e.draws.into_pyarray(py).reshape([n, dim])?)?;
    let steps = e.steps.into_iter().map(|s| step(py, s)).collect::<PyResult<Vec<_>>>()?;
    raw.set_item("stages", steps)?;
    raw.set_item("sampler", e.sampler.map(|s| state(py, &s)).transpose()?)?;
    Ok(raw)
}

fn step(py: Python<'_>, s: Step) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    raw.set_item("n_evals", s.n)?;
    items! { raw <- s: purpose used forecast }
    arrays! { raw <- s: mean stderr }
    Ok(raw)
}

/// The fields of a sampler, from which it can be made again.
fn state<'py>(py: Python<'py>, sampler: &Sampler) -> PyResult<Bound<'py, PyDict>> {
    let raw = PyDict::new(py);
    let d = sampler.dim();
    raw.set_item("kind", sampler.name())?;
    raw.set_item("share", sampler.share)?;
    let axes = &sampler.region.axes;
    let words = axes.iter().map(|axis| match axis.ends {
        Ends::Finite => "finite",
        Ends::Half => "half",
        Ends::Infinite => "infinite",
    });
    raw.set_item("ends", words.collect::<Vec<_>>())?;
    let column = |of: &dyn Fn(&Axis) -> f64| PyArray1::from_vec(py, axes.iter().map(of).collect());
    raw.set_item("origin", column(&|axis| axis.origin))?;
    raw.set_item("scale", column(&|axis| axis.scale))?;
    let (maps, frame, mixture) = match &sampler.source {
        Source::Uniform => (&[] as &[AxisMap], None, None),
        Source::Map(maps) => (maps.as_slice(), None, None),
        Source::Rotated(frame, maps) => (maps.as_slice(), Some(frame), None),
        Source::Mixture(mixture) => (&[] as &[AxisMap], None, Some(mixture)),
    };
    let knots: Vec<f64> = maps.iter().flat_map(|map| map.knots().iter().copied()).collect();
    raw.set_item("knots", PyArray1::from_vec(py, knots))?;
    let lengths: Vec<i64> = maps.iter().map(|map| map.knots().len() as i64).collect();
    raw.set_item("n_knots", PyArray1::from_vec(py, lengths))?;
    let (mean, factor) =
        frame.map_or_else(Default::default, |f| (f.mean.clone(), f.factor.clone()));
    raw.set_item("centre", PyArray1::from_vec(py, mean))?;
    raw.set_item("axes", PyArray1::from_vec(py, factor))?;
    let parts: Vec<i64> =
        mixture.map_or_else(Vec::new, |m| m.parts.iter().map(|p| *p as i64).collect());
    let (means, covariances) = mixture.map_or_else(Default::default, |m| m.moments());
    let count = parts.len();
    raw.set_item("parts", PyArray1::from_vec(py, parts))?;
    raw.set_item("means", PyArray1::from_vec(py, means).reshape([count, d])?)?;
    raw.set_item("covariances", PyArray1::from_vec(py, covariances).reshape([count, d, d])?)?;
    Ok(raw)
}
