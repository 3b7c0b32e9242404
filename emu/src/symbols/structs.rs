//! Layouts of C structures from DWARF: which member is where. That is all it takes to read a
//! foreign kernel's `struct proc`.

use std::collections::HashMap;

use gimli::{AttributeValue, Dwarf, Reader};

/// A structure: its size and its members' offsets, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StructLayout {
    /// Size in bytes.
    pub size: u64,
    /// Offset of every member by name.
    pub members: HashMap<String, u64>,
}

/// Finds the first complete structure with this name in a program's C.
pub fn find<R: Reader>(dwarf: &Dwarf<R>, name: &str) -> Result<Option<StructLayout>, gimli::Error> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        if is_rust(&unit)? {
            continue;
        }
        let mut entries = unit.entries();
        while let Some((_, entry)) = entries.next_dfs()? {
            if entry.tag() != gimli::DW_TAG_structure_type {
                continue;
            }
            let named = text(dwarf, &unit, entry.attr_value(gimli::DW_AT_name)?)?;
            let size =
                entry.attr_value(gimli::DW_AT_byte_size)?.and_then(|value| value.udata_value());
            if let (Some(named), Some(size)) = (named, size)
                && named == name
            {
                let offset = entry.offset();
                return Ok(Some(StructLayout { size, members: members(dwarf, &unit, offset)? }));
            }
        }
    }
    Ok(None)
}

/// Whether a unit's structures are none of C: there are very many of them.
fn is_rust<R: Reader>(unit: &gimli::Unit<R>) -> Result<bool, gimli::Error> {
    let mut entries = unit.entries();
    let Some((_, root)) = entries.next_dfs()? else { return Ok(false) };
    let language = root.attr_value(gimli::DW_AT_language)?;
    Ok(matches!(language, Some(AttributeValue::Language(gimli::DW_LANG_Rust))))
}

fn members<R: Reader>(
    dwarf: &Dwarf<R>,
    unit: &gimli::Unit<R>,
    offset: gimli::UnitOffset<R::Offset>,
) -> Result<HashMap<String, u64>, gimli::Error> {
    let mut found = HashMap::new();
    let mut tree = unit.entries_tree(Some(offset))?;
    let mut children = tree.root()?.children();
    while let Some(child) = children.next()? {
        let entry = child.entry();
        if entry.tag() != gimli::DW_TAG_member {
            continue;
        }
        let name = text(dwarf, unit, entry.attr_value(gimli::DW_AT_name)?)?;
        let at = entry.attr_value(gimli::DW_AT_data_member_location)?;
        let at = at.and_then(|value| offset_of(value, unit.encoding()));
        if let (Some(name), Some(at)) = (name, at) {
            found.insert(name, at);
        }
    }
    Ok(found)
}

/// A member's offset: a number, or in DWARF 2 an expression that adds one.
fn offset_of<R: Reader>(value: AttributeValue<R>, encoding: gimli::Encoding) -> Option<u64> {
    let mut bytes = match value {
        AttributeValue::Exprloc(expression) => expression.0,
        AttributeValue::Block(bytes) => bytes,
        number => return number.udata_value(),
    };
    match gimli::Operation::parse(&mut bytes, encoding).ok()? {
        gimli::Operation::PlusConstant { value } => Some(value),
        _ => None,
    }
}

fn text<R: Reader>(
    dwarf: &Dwarf<R>,
    unit: &gimli::Unit<R>,
    value: Option<AttributeValue<R>>,
) -> Result<Option<String>, gimli::Error> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(dwarf.attr_string(unit, value)?.to_string_lossy()?.into_owned()))
}
