//! Which of the nodes that live is drawn: to ask, to publish, to be joined through.
//!
//! Always holds: each that suits is as likely as any other. Never: draws one that is dead.

use std::collections::BTreeSet;

use super::World;

/// Nodes that a newcomer is told to join through: whoever knows but one that dies at once knows
/// nobody, for good.
const BOOTSTRAP: usize = 3;
/// Nodes that are drawn to find one that suits.
const MAX_DRAWS: usize = 16;

impl World {
    /// A random node that lives.
    pub fn any_living(&mut self) -> Option<usize> {
        self.nodes.draw(&mut self.rng).map(|n| n as usize)
    }

    /// A random node that lives and suits; none if that is not found in a few draws.
    pub(in crate::sim) fn any_that(
        &mut self,
        suits: impl Fn(&Self, usize) -> bool,
    ) -> Option<usize> {
        for _ in 0..MAX_DRAWS {
            let drawn = self.any_living()?;
            if suits(self, drawn) {
                return Some(drawn);
            }
        }
        None
    }

    /// A random living node that newcomers can join through: nobody gives them the address of one
    /// that is behind a router. Where there are hardly any others, one that is.
    pub(super) fn any_reachable(&mut self) -> Option<usize> {
        let reachable = self.any_that(|world, n| world.machine(n).nat.is_none());
        reachable.or_else(|| self.any_living())
    }

    /// A few random living nodes.
    pub(super) fn draw_bootstrap(&mut self) -> BTreeSet<usize> {
        (0..BOOTSTRAP).filter_map(|_| self.any_reachable()).collect()
    }
}
