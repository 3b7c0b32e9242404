//! The table of devices that device files lead to, by major number.

use abi::param::NDEV;

use super::FsError;
use crate::sync::SpinLock;

/// A character device. Transfers go through buffers of the kernel; the caller holds no lock.
pub trait Device: Sync {
    /// Waits for input; returns how much there was, 0 at the end of the input.
    fn read(&self, buf: &mut [u8]) -> Result<usize, FsError>;
    /// Writes; returns how much was taken.
    fn write(&self, data: &[u8]) -> Result<usize, FsError>;
}

static DEVICES: SpinLock<[Option<&'static dyn Device>; NDEV]> =
    SpinLock::new("devices", [None; NDEV]);

/// Says which device a major number below [`NDEV`] stands for.
pub fn register_device(major: usize, device: &'static dyn Device) {
    DEVICES.lock()[major] = Some(device);
}

/// Whether there may be a device with this number.
pub(super) fn is_major(major: i16) -> bool {
    usize::try_from(major).is_ok_and(|major| major < NDEV)
}

/// The device with this number.
pub(super) fn device(major: i16) -> Result<&'static dyn Device, FsError> {
    let major = usize::try_from(major).map_err(|_| FsError::NoDevice)?;
    DEVICES.lock().get(major).copied().flatten().ok_or(FsError::NoDevice)
}
