//! What memory mappings need from files, without knowing the file system.

/// An open file as the memory system sees it. Every method may sleep: no spin lock may be held.
pub trait FileBacking: Sync {
    /// Whether the file was opened for reading.
    fn readable(&self) -> bool;
    /// Whether the file was opened for writing.
    fn writable(&self) -> bool;
    /// One more mapping refers to the open file.
    fn retain(&self);
    /// One mapping less refers to it; the last reference closes it.
    fn release(&self);
    /// Size of the file in bytes.
    fn size(&self) -> u64;
    /// Reads from `offset` into `page`; returns the bytes read, fewer at the end of the file.
    fn read_page(&self, offset: u64, page: &mut [u8]) -> usize;
    /// Writes within the file's size; whether all was written.
    fn write_back(&self, offset: u64, bytes: &[u8]) -> bool;
}

/// A mapping's reference to an open file. It keeps the file open, whatever happens to its
/// descriptors and its name.
pub struct FileHandle {
    file: &'static dyn FileBacking,
}

impl FileHandle {
    /// A new reference to an open file.
    pub fn new(file: &'static dyn FileBacking) -> FileHandle {
        file.retain();
        FileHandle { file }
    }
}

impl core::ops::Deref for FileHandle {
    type Target = dyn FileBacking;

    fn deref(&self) -> &Self::Target {
        self.file
    }
}

impl Clone for FileHandle {
    fn clone(&self) -> Self {
        FileHandle::new(self.file)
    }
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        self.file.release();
    }
}
