//! A block of chains: its memory, its sweeps and its windows.

use super::denoise::{Address, check_finite};
use super::{Select, Settings, Step};
use crate::Model;
use crate::noise::{Purpose, stream};
use crate::program::Program;
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::ln;
use fermiac_target::Integrand;

/// The functions that chains evaluate.
#[derive(Clone, Copy)]
pub struct Oracles<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// The function that gives the law of levels, if there is one.
    pub predict: Option<&'a dyn Integrand>,
}

/// The functions of a block, and `poll`, which is called after every call of one.
pub(super) struct Ports<'a> {
    pub(super) oracles: Oracles<'a>,
    pub(super) poll: &'a mut dyn FnMut() -> Result<()>,
}

impl Ports<'_> {
    /// Calls `poll`.
    pub(super) fn poll(&mut self) -> Result<()> {
        (self.poll)()
    }
}

/// The state of chains between sweeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Chains {
    /// Points (chains × dim).
    pub(super) x: Vec<f64>,
    /// Levels.
    pub(super) sigma: Vec<f64>,
    /// The end of the levels reached last: 0 none, 1 the highest, 2 the lowest.
    pub(super) ends: Vec<u64>,
    /// Passages from one end to the other.
    pub(super) passages: Vec<u64>,
}

/// The results of windows, window by window of each chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windows {
    /// Denoised points (chains × windows × dim).
    pub draws: Vec<f64>,
    /// Levels from which they were denoised.
    pub sigma: Vec<f64>,
    /// Means of log s.
    pub log_sigma: Vec<f64>,
    /// Shares of accepted moves.
    pub acceptance: Vec<f64>,
}

/// Some chains, and memory for their sweeps.
pub(super) struct Block<'a> {
    pub(super) settings: &'a Settings,
    pub(super) dim: usize,
    /// The number of the first chain.
    pub(super) first: usize,
    pub(super) chains: Chains,
    /// Visits of each level.
    pub(super) visits: Vec<u64>,
    /// Denoised points, proposals, and denoised proposals.
    pub(super) d: Vec<f64>,
    pub(super) to: Vec<f64>,
    pub(super) d_to: Vec<f64>,
    /// Normal numbers, and two uniform numbers per chain.
    pub(super) z: Vec<f64>,
    pub(super) uniform: Vec<f64>,
    /// Log-densities of the points and then of the proposals.
    pub(super) logs: Vec<f64>,
    /// The output of the predictor of levels.
    pub(super) table: Vec<f64>,
    pub(super) moved: Vec<bool>,
}

impl<'a> Block<'a> {
    /// The chains from `first` on.
    pub(super) fn new(settings: &'a Settings, dim: usize, first: usize, chains: Chains) -> Self {
        let n = chains.sigma.len();
        let room = || vec![0.0; n * dim];
        let visits = vec![0; settings.levels.sigma().len()];
        Self {
            settings,
            dim,
            first,
            d: room(),
            to: room(),
            d_to: room(),
            z: room(),
            chains,
            visits,
            uniform: vec![0.5; 2 * n],
            logs: vec![0.0; 2 * n],
            table: Vec::new(),
            moved: vec![false; n],
        }
    }

    /// The chains, and the visits of each level.
    pub(super) fn into_parts(self) -> (Chains, Vec<u64>) {
        (self.chains, self.visits)
    }

    /// Computes the denoised points at the present points and levels.
    pub(super) fn denoise(&mut self, model: &dyn Model) -> Result<()> {
        model.denoise(Rows::new(&self.chains.x, self.dim), &self.chains.sigma, &mut self.d)?;
        check_finite(model, Rows::new(&self.d, self.dim), &self.chains.sigma, self.first)
    }

    /// Fills `self.z` with the normal numbers of a draw.
    pub(super) fn draw_normals(&mut self, purpose: Purpose, draw: u32) {
        for (i, z) in self.z.chunks_exact_mut(self.dim).enumerate() {
            stream(self.settings.key, purpose, (self.first + i) as u64, draw).fill_normal(z);
        }
    }

    /// Makes sweep number `t`.
    pub(super) fn sweep(&mut self, ports: &mut Ports<'_>, t: u32, step: Step) -> Result<()> {
        let key = self.settings.key;
        let rows = self.z.chunks_exact_mut(self.dim).zip(self.uniform.chunks_exact_mut(2));
        for (i, (z, uniform)) in rows.enumerate() {
            let mut stream = stream(key, Purpose::Sweep, (self.first + i) as u64, t);
            stream.fill_normal(z);
            stream.fill_uniform(uniform);
        }
        self.denoise(ports.oracles.model)?;
        ports.poll()?;
        self.move_points(ports, step)?;
        self.draw_levels(ports, self.settings.is_corrected())
    }

    /// Makes window number `w`, sweeps and the denoised copy of one of their states, and appends it
    /// to `out`.
    pub(super) fn window(
        &mut self,
        ports: &mut Ports<'_>,
        program: &Program,
        w: u32,
        out: &mut Windows,
    ) -> Result<()> {
        let (settings, n, model) = (self.settings, self.chains.sigma.len(), ports.oracles.model);
        let n_skip = settings.n_skip;
        let (mut chosen, mut levels) = (self.chains.x.clone(), self.chains.sigma.clone());
        let at: Vec<usize> = (0..n).map(|i| self.state_to_take(i, w)).collect();
        let (mut logs, mut accepted) = (vec![0.0; n], vec![0.0; n]);
        for k in 1..=n_skip {
            let t = settings.n_warmup + w as usize * n_skip + k - 1;
            self.sweep(ports, t as u32, settings.step)?;
            for i in 0..n {
                logs[i] += ln(self.chains.sigma[i]);
                accepted[i] += f64::from(u8::from(self.moved[i]));
                let taken = match settings.select {
                    Select::Min => self.chains.sigma[i] < levels[i],
                    Select::Last | Select::Random => k == at[i],
                };
                if taken {
                    let row = i * self.dim..(i + 1) * self.dim;
                    chosen[row.clone()].copy_from_slice(&self.chains.x[row]);
                    levels[i] = self.chains.sigma[i];
                }
                self.count(i);
            }
        }
        let address =
            Address { key: settings.key, purpose: Purpose::Window, first: self.first, window: w };
        let denoise = &settings.denoise;
        let mut y = denoise.run(program, ports, &chosen, &levels, &address)?;
        if let Some(s) = settings.tweedie {
            model.denoise(Rows::new(&y, self.dim), &[s], &mut chosen)?;
            check_finite(model, Rows::new(&chosen, self.dim), &vec![s; n], self.first)?;
            y.copy_from_slice(&chosen);
        }
        out.draws.extend_from_slice(&y);
        out.sigma.extend_from_slice(&levels);
        out.log_sigma.extend(logs.iter().map(|sum| sum / n_skip as f64));
        out.acceptance.extend(accepted.iter().map(|sum| sum / n_skip as f64));
        Ok(())
    }

    /// The number of the state of the window that is denoised, if it is known before.
    fn state_to_take(&self, i: usize, w: u32) -> usize {
        let n_skip = self.settings.n_skip;
        if self.settings.select != Select::Random {
            return n_skip;
        }
        let row = (self.first + i) as u64;
        let u = stream(self.settings.key, Purpose::Choice, row, w).uniform();
        1 + ((u * n_skip as f64) as usize).min(n_skip - 1)
    }

    /// Counts the level of chain `i`, and its passages.
    fn count(&mut self, i: usize) {
        let k = self.settings.levels.nearest(self.chains.sigma[i]);
        self.visits[k] += 1;
        let last = self.visits.len() - 1;
        let end = match k {
            _ if last == 0 => 0,
            0 => 1,
            k if k == last => 2,
            _ => 0,
        };
        if end != 0 {
            if self.chains.ends[i] != 0 && self.chains.ends[i] != end {
                self.chains.passages[i] += 1;
            }
            self.chains.ends[i] = end;
        }
    }
}
