//! Nodes leave a run, and others come in their place.
//!
//! Always holds: the population stays what it is. Never: lets an adversary leave.

use std::time::Duration;

use rand::RngExt;

use super::{Churn, Life, Role, Simulation};

/// A node that stops tells of it for so long at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

impl Simulation {
    /// From now on nodes and Python-like peers have sessions that end.
    pub(super) fn begin_churn(&mut self) {
        let Some(median) = self.scenario.session_median else {
            return;
        };
        let mut churn = Churn::new(median, self.scenario.returning, self.scenario.nodes);
        let now = self.world.now();
        for index in 0..self.world.machine_count() {
            let machine = self.world.machine(index);
            if machine.is_alive() && matches!(machine.role, Role::Node | Role::Python) {
                churn.begins(index, machine.born, now, &mut self.rng);
            }
        }
        self.churn = Some(churn);
    }

    /// All publishers leave, and others come in their place.
    pub(super) fn publishers_leave(&mut self) {
        let publishers: Vec<Life> =
            self.library.entries().iter().map(|entry| entry.publisher).collect();
        // All leave before the first comes: whoever joined through such as are about to leave, and
        // no others, would be told of nobody.
        let mut gone = Vec::new();
        for publisher in publishers {
            if self.lives(publisher) {
                gone.push(self.world.machine(publisher.machine).role);
                self.library.falls_silent(publisher.machine, &self.world);
                self.world.kill(publisher.machine);
            }
        }
        for role in gone {
            self.enter(role);
        }
    }

    /// Whose session is over leaves.
    pub(super) fn churn_on(&mut self) {
        let now = self.world.now();
        while let Some(mut churn) = self.churn.take() {
            let Some((machine, born)) = churn.leaves(now) else {
                self.churn = Some(churn);
                return;
            };
            let life = Life { machine, born };
            if self.lives(life) && !self.takes_its_leave(&mut churn, life) {
                let next = self.replace(&mut churn, machine);
                churn.begins(next.machine, next.born, now, &mut self.rng);
            }
            self.churn = Some(churn);
        }
    }

    /// Whether it leaves in order, and stays for that a moment longer.
    fn takes_its_leave(&mut self, churn: &mut Churn, life: Life) -> bool {
        let (clean, Life { machine, born }) = (self.scenario.clean, life);
        let is_node = self.world.machine(machine).role == Role::Node;
        if !is_node || clean == 0.0 || churn.has_stayed(machine, born) {
            return false;
        }
        if !self.rng.random_bool(clean) {
            return false;
        }
        churn.stays(machine, born, self.world.now() + LEAVE_WITHIN);
        self.library.falls_silent(machine, &self.world);
        for (key, value) in self.library.take_back(life) {
            self.world.take_back(life.machine, key, &value);
        }
        true
    }

    fn lives(&self, life: Life) -> bool {
        let machine = self.world.machine(life.machine);
        machine.is_alive() && machine.born == life.born
    }

    fn replace(&mut self, churn: &mut Churn, machine: usize) -> Life {
        let role = self.world.machine(machine).role;
        self.library.falls_silent(machine, &self.world);
        if churn.remembers() && role == Role::Node {
            // Whoever comes back left earlier: nobody is back the moment it leaves.
            let back = churn.returns(&mut self.rng);
            if let Some(asleep) = self.world.put_to_sleep(machine) {
                churn.sleeps(asleep);
            }
            let Some(asleep) = back else {
                return self.enter(role);
            };
            return Life { machine: self.world.wake(asleep), born: self.world.now() };
        }
        self.world.kill(machine);
        self.python.retain(|peer| *peer != machine);
        self.enter(role)
    }
}
