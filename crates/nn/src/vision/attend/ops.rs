//! Attention as candle's custom operations, which differ in what stands in which operand.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Shape, Tensor};

use super::Attend;
use crate::vision::{Candle, gradient, numbers, read};

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "self_attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, l: &Layout) -> Candle<(CpuStorage, Shape)> {
        let qkv = numbers(qkv, l)?;
        self.forward(qkv, qkv, None)
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Candle<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let rows = read(qkv)?;
        let [dqkv, _, _] = self.backward(&rows, &rows, None, &read(out)?, &read(&grad)?)?;
        Ok(gradient(dqkv, qkv)?)
    }
}

/// Queries, keys and values together with norms, or queries beside keys and values without norms.
impl CustomOp2 for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let (a, b) = (numbers(a, al)?, numbers(b, bl)?);
        if self.together {
            self.forward(a, a, Some(b))
        } else {
            self.forward(a, b, None)
        }
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (xs, ys, out, dout) = (read(a)?, read(b)?, read(out)?, read(&grad)?);
        let (da, db) = if self.together {
            let [da, _, db] = self.backward(&xs, &xs, Some(&ys), &out, &dout)?;
            (da, db)
        } else {
            let [da, db, _] = self.backward(&xs, &ys, None, &out, &dout)?;
            (da, db)
        };
        Ok((gradient(da, a)?, gradient(db, b)?))
    }
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "cross_attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        kv: &CpuStorage,
        kvl: &Layout,
        n: &CpuStorage,
        nl: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        self.forward(numbers(q, ql)?, numbers(kv, kvl)?, Some(numbers(n, nl)?))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        norms: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (qs, kvs, ns) = (read(q)?, read(kv)?, read(norms)?);
        let [dq, dkv, dn] = self.backward(&qs, &kvs, Some(&ns), &read(out)?, &read(&grad)?)?;
        Ok((gradient(dq, q)?, gradient(dkv, kv)?, gradient(dn, norms)?))
    }
}
