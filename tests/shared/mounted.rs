//! A small file system of its own.

use super::needs::Need;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is mounted at a directory, gone when this is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// None where this run does without.
    pub(crate) fn at(path: &Path, size: &str) -> Option<Self> {
        if !Need::Mount.is_met() {
            return None;
        }
        std::fs::create_dir_all(path).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "canary-test"]).arg(path);
        let mounted = mount.output().expect("mount was just tried");
        if !mounted.status.success() {
            Need::Mount.missing(&String::from_utf8_lossy(&mounted.stderr));
        }
        Some(Self(path.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    #[allow(dead_code, reason = "only a store alone is tried on a disk that can be read only")]
    pub(crate) fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "what is mounted can be remounted");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
