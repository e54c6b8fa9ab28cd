//! Brownian noise that does not depend on the grid: a tree of bridges for each row.
