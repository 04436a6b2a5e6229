//! Random bytes that hide what a receipt says until it is shown.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::error::LogError;

/// Salts in stock: the system is asked once per 256.
pub struct Salts {
    stock: Box<[u8; 4096]>,
    used: usize,
}

impl Default for Salts {
    fn default() -> Self {
        Self { stock: Box::new([0; 4096]), used: 4096 }
    }
}

impl Salts {
    pub fn next(&mut self) -> Result<[u8; 16], LogError> {
        if self.used == self.stock.len() {
            SystemRandom::new().fill(&mut *self.stock).map_err(|_| LogError::Random)?;
            self.used = 0;
        }
        let mut salt = [0; 16];
        let fresh = &mut self.stock[self.used..self.used + 16];
        salt.copy_from_slice(fresh);
        // A salt is kept only beside its receipt: deleting it there must delete it.
        fresh.fill(0);
        self.used += 16;
        Ok(salt)
    }
}
