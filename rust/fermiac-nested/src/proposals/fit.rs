//! The fit of a density to weighted points whose modes are told apart by a bound.

use super::{Density, Start, Tree, Weighted};
use crate::bound::{Bound, BoundKind, FitOptions};
use crate::chains::{BatchGeometry, Cut};
use crate::points::Points;
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use std::sync::Arc;

/// The points of a fit.
pub(crate) struct Target<'a> {
    /// Points of the target, row-major.
    pub(crate) points: &'a [f64],
    /// Points of wider laws about it.
    pub(crate) tempered: &'a [f64],
    /// Points that hold most of the target, by which its modes are told apart.
    pub(crate) above: &'a Points,
    /// Further places that the cuts of circles are to be far from.
    pub(crate) uncut: &'a [f64],
    /// The ln of the prior mass of the points above.
    pub(crate) log_x: f64,
    /// All points with their weights for the target, if coordinates may have locations and scales that
    /// depend on others.
    pub(crate) weighted: Option<Weighted<'a>>,
    /// The tree that straightens coordinates for all laws.
    pub(crate) tree: Option<Arc<Tree>>,
}

/// Fits a density; `None` if the points do not span the space.
///
/// # Errors
/// Those of `context`, and of a bound about points outside of the cube.
pub(crate) fn fit(
    target: Target<'_>,
    circles: &[bool],
    key: u64,
    context: &Context<'_>,
) -> Result<Option<Density>> {
    let dim = circles.len();
    let options = FitOptions {
        kind: BoundKind::Multi,
        enlarge: 1.0,
        modes: true,
        bootstrap: 0,
        periodic: circles.to_vec(),
    };
    let rows = Rows::new(&target.above.u, dim);
    let modes = Bound::fit(rows, target.log_x, &options, key, 0, context)?;
    let geometry = BatchGeometry::new(target.above, circles, Some(&modes));
    let labels = geometry.parts_of(target.points);
    let tempered_labels = geometry.parts_of(target.tempered);
    let start = Start {
        points: target.points,
        labels: &labels,
        tempered: target.tempered,
        tempered_labels: &tempered_labels,
        cut: Cut::new(&[target.above.u.as_slice(), target.uncut].concat(), dim, circles),
        weighted: target.weighted,
        tree: target.tree,
    };
    Density::fit(start, dim, context)
}
