//! What `test-shared1` and `test-shared2` have in common.

use crate::{peek, poke, println, spawn, sys, wait};

/// One round of sharing a page between parent and child: the parent leaves one number for the
/// child, the child another one for the parent, each prints what it finds and drops the page.
/// Whether all went well.
pub fn round(again: &str, for_child: u8, for_parent: u8) -> bool {
    let page = sys::mapshared();
    if page == 0 {
        println!("mapshared failed");
        return false;
    }
    poke(page, for_child);
    let pid = spawn(|| {
        let page = sys::getshared();
        if page == 0 {
            println!("getshared failed");
            return 1;
        }
        println!("child {again}{}", peek(page));
        poke(page, for_parent);
        // SAFETY: the page is not used any more.
        unsafe { sys::unmapshared() }
    });
    let child_ended = pid >= 0 && wait().is_some_and(|child| child.status == 0);
    println!("parent {again}{}", peek(page));
    // SAFETY: as in the child.
    child_ended && unsafe { sys::unmapshared() } == 0
}
