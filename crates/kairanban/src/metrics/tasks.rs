//! Counts tasks that failed.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::labels::ByLabel;

/// Counts tasks and threads that failed and were started again. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskMetrics {
    restarts: ByLabel<Counter>,
}

impl Default for TaskMetrics {
    /// Creates metrics that no registry knows.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl TaskMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let restarts = ByLabel::new("task", &[]);
        registry.register(
            "task_restarts",
            "Times that a task or thread failed and was started again",
            restarts.family.clone(),
        );
        Self { restarts }
    }

    /// Makes a task known, so that its first failure shows as a rate.
    pub fn started(&self, task: &'static str) {
        drop(self.restarts.of(task));
    }

    /// Counts a task that is started again.
    pub fn restarted(&self, task: &'static str) {
        self.restarts.of(task).inc();
    }
}
