//! Our kernels on an NVIDIA GPU: compiled once by NVRTC, started over tensors, and bound into candle's graph with a backward
//! pass of their own.
#![allow(unsafe_code)] // kernels are started by raw pointers; each is given operands of the shapes it reads

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::cuda::cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};
use candle_core::cuda::{WrapErr, cudarc};
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout,
    Shape, Storage, Tensor,
};

use crate::Result;
use crate::vision::Candle;

const THREADS: u32 = 256;

/// One start of a kernel; the names are those of `kernels.cu`.
pub(super) struct Launch<'a> {
    pub(super) kernel: &'static str,
    /// At most three.
    pub(super) inputs: &'a [&'a Tensor],
    /// What the kernel takes for the number of threads that have work.
    pub(super) work: usize,
    /// Threads that are started, where they are others.
    pub(super) threads: Option<usize>,
    pub(super) numbers: [usize; 7],
    pub(super) number: f32,
}

impl<'a> Launch<'a> {
    pub(super) fn new(
        kernel: &'static str,
        inputs: &'a [&'a Tensor],
        work: usize,
        numbers: &[usize],
    ) -> Self {
        let mut all = [0; 7];
        all.iter_mut()
            .zip(numbers)
            .for_each(|(to, from)| *to = *from);
        Self {
            kernel,
            inputs,
            work,
            threads: None,
            numbers: all,
            number: 0.0,
        }
    }

    pub(super) fn with(self, number: f32) -> Self {
        Self { number, ..self }
    }

    /// The result, of this shape.
    pub(super) fn fresh(self, shape: &[usize]) -> Candle<Fresh> {
        let device = self.device()?;
        // SAFETY: the kernel writes every element.
        let out = unsafe { device.alloc::<f32>(shape.iter().product())? };
        let fresh = Fresh::new(out, device, shape);
        self.write(&fresh)?;
        Ok(fresh)
    }

    /// The same as a tensor that no gradient leads through.
    pub(super) fn run(self, shape: &[usize]) -> Candle<Tensor> {
        Ok(self.fresh(shape)?.tensor())
    }

    /// The same for kernels that add to their result.
    pub(super) fn add(self, shape: &[usize]) -> Candle<Tensor> {
        let fresh = self.zeros(shape)?;
        self.write(&fresh)?;
        Ok(fresh.tensor())
    }

    fn device(&self) -> Candle<&'a CudaDevice> {
        match self.inputs.first().map(|x| x.device()) {
            Some(Device::Cuda(device)) => Ok(device),
            _ => candle_core::bail!("{} runs on a GPU", self.kernel),
        }
    }

    /// Zeros of this shape, on the device of the operands.
    pub(super) fn zeros(&self, shape: &[usize]) -> Candle<Fresh> {
        let device = self.device()?;
        let out = device.alloc_zeros::<f32>(shape.iter().product())?;
        Ok(Fresh::new(out, device, shape))
    }

    /// Writes into what is there.
    pub(super) fn write(&self, fresh: &Fresh) -> Candle<()> {
        let (device, out) = (&fresh.device, &fresh.out);
        if self.work == 0 {
            return Ok(());
        }
        let guards: Vec<_> = self.inputs.iter().map(|x| x.storage_and_layout()).collect();
        let views: Vec<CudaView<'_, f32>> = guards
            .iter()
            .map(|(storage, layout)| view(storage, layout))
            .collect::<Candle<_>>()?;
        let whole = |n: usize| match i32::try_from(n) {
            Ok(n) => Ok(n),
            Err(_) => candle_core::bail!("{n} numbers are too many for one operation on a GPU"),
        };
        let (Some(first), n) = (views.first(), whole(self.work)?) else {
            candle_core::bail!("{} has no operand", self.kernel)
        };
        let numbers: Vec<i32> = self
            .numbers
            .iter()
            .map(|&n| whole(n))
            .collect::<Candle<_>>()?;
        let function = device.get_or_load_custom_func(self.kernel, "medley", ptx()?)?;
        let stream = device.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        builder.arg(out);
        for i in 0..3 {
            builder.arg(views.get(i).unwrap_or(first));
        }
        builder.arg(&n);
        for number in &numbers {
            builder.arg(number);
        }
        builder.arg(&self.number);
        let threads = self.threads.unwrap_or(self.work);
        let blocks = threads.div_ceil(THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (whole(blocks)? as u32, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: operands are as long as the kernel reads, by the callers in `ops.rs`; the stream orders it after what made
        // them.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Numbers that were just made.
pub(super) struct Fresh {
    out: CudaSlice<f32>,
    device: CudaDevice,
    shape: Shape,
}

impl Fresh {
    fn new(out: CudaSlice<f32>, device: &CudaDevice, shape: &[usize]) -> Self {
        Self {
            out,
            device: device.clone(),
            shape: shape.into(),
        }
    }

    fn storage(self) -> (CudaStorage, Shape) {
        (
            CudaStorage::wrap_cuda_slice(self.out, self.device),
            self.shape,
        )
    }

    pub(super) fn tensor(self) -> Tensor {
        let (storage, shape) = self.storage();
        Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
    }
}

fn view<'a>(storage: &'a Storage, layout: &Layout) -> Candle<CudaView<'a, f32>> {
    match (storage, layout.contiguous_offsets()) {
        (Storage::Cuda(storage), Some((start, end))) => {
            Ok(storage.as_cuda_slice::<f32>()?.slice(start..end))
        }
        _ => candle_core::bail!("our kernels take contiguous f32 on an NVIDIA GPU"),
    }
}

fn ptx() -> Candle<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = PTX.get_or_init(|| {
        let source = include_str!("kernels.cu");
        let ptx = cudarc::nvrtc::compile_ptx(source).map_err(|e| format!("{e:?}"))?;
        Ok(ptx.to_src())
    });
    match compiled {
        Ok(ptx) => Ok(ptx),
        Err(e) => candle_core::bail!("NVRTC cannot compile our kernels: {e}"),
    }
}

/// Whether our kernels serve these operands.
pub(crate) fn serves(operands: &[&Tensor]) -> bool {
    operands
        .iter()
        .all(|x| x.dtype() == DType::F32 && x.device().is_cuda() && x.elem_count() > 0)
}

/// The gradients of the operands, from the operands, the result and its gradient.
type Back = dyn Fn(&[&Tensor], &Tensor, &Tensor) -> Candle<Vec<Option<Tensor>>> + Send + Sync;

/// A result that exists already, on its way into candle's graph.
struct Made {
    name: &'static str,
    result: Mutex<Option<(CudaStorage, Shape)>>,
    back: Box<Back>,
}

impl Made {
    fn take(&self) -> Candle<(CudaStorage, Shape)> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        match result.take() {
            Some(result) => Ok(result),
            None => candle_core::bail!("{} has one result", self.name),
        }
    }

    fn elsewhere<T>(&self) -> Candle<T> {
        candle_core::bail!("{} runs on an NVIDIA GPU", self.name)
    }

    fn gradients<const N: usize>(
        &self,
        operands: [&Tensor; N],
        result: &Tensor,
        grad: &Tensor,
    ) -> Candle<[Option<Tensor>; N]> {
        let mut given = (self.back)(&operands, result, &grad.contiguous()?)?.into_iter();
        Ok(operands.map(|operand| given.next().flatten().filter(|_| operand.track_op())))
    }
}

impl CustomOp1 for Made {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Candle<(CpuStorage, Shape)> {
        self.elsewhere()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Candle<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(&self, a: &Tensor, result: &Tensor, grad: &Tensor) -> Candle<Option<Tensor>> {
        let [a] = self.gradients([a], result, grad)?;
        Ok(a)
    }
}

impl CustomOp2 for Made {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        self.elsewhere()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Candle<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients([a, b], result, grad)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Made {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        self.elsewhere()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Candle<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients([a, b, c], result, grad)?;
        Ok((a, b, c))
    }
}

/// `result`, which was computed of `operands` (one to three), with their gradients by `back`.
pub(super) fn bound(
    name: &'static str,
    operands: &[&Tensor],
    result: Fresh,
    back: impl Fn(&[&Tensor], &Tensor, &Tensor) -> Candle<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !operands.iter().any(|x| x.track_op()) {
        return Ok(result.tensor());
    }
    let op = Made {
        name,
        result: Mutex::new(Some(result.storage())),
        back: Box::new(back),
    };
    Ok(match operands {
        [a] => a.apply_op1(op)?,
        [a, b] => a.apply_op2(b, op)?,
        [a, b, c] => a.apply_op3(b, c, op)?,
        _ => return Err(candle_core::Error::Msg(format!("{name} has too many operands")).into()),
    })
}
