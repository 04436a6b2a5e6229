//! Names of what is shown.

use metrics::{Key, Label};

/// What a page says of one value.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: Vec<Label>,
}

impl Series {
    #[must_use]
    pub fn new(name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Self {
        let labels = labels.iter().map(|(key, value)| Label::new(*key, (*value).to_owned())).collect();
        Self { name, help, labels }
    }

    #[must_use]
    pub fn key(&self) -> Key {
        Key::from_parts(self.name, self.labels.clone())
    }
}
