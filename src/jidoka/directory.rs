//! A shard's governors in the order of tenant and SKU, so that a page of them costs its length, however many there are.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::governor::key;

/// Governors in the order of tenant and SKU, those behind `after`.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub tenant: Option<Box<str>>,
    pub among: Among,
    pub after: Option<(Box<str>, Box<str>)>,
    pub limit: usize,
}

/// Which governors are on a page.
#[derive(Clone, Debug, Default)]
pub enum Among {
    #[default]
    All,
    /// Those that an operator halted by themselves.
    Halted,
    /// Those that have an action of this name out.
    ActingOn(Box<str>),
}

/// Where each governor stands among the shard's slots, by its key, which is ordered as tenant and SKU are.
#[derive(Debug, Default)]
pub struct Directory {
    slots: BTreeMap<Box<str>, u32>,
}

impl Directory {
    pub fn insert(&mut self, key: &str, slot: u32) {
        self.slots.insert(key.into(), slot);
    }

    pub fn remove(&mut self, key: &str) {
        self.slots.remove(key);
    }

    /// The next governors of a page, at most `count`.
    pub fn slots(&self, page: &Page, count: usize) -> impl Iterator<Item = u32> {
        let tenant = page.tenant.as_deref();
        let first = tenant.map(|tenant| key(tenant, ""));
        let after = page.after.as_ref().map(|(tenant, sku)| key(tenant, sku));
        let from = match (after, first) {
            (Some(after), Some(first)) if after < first => Bound::Included(first),
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        let of_tenant = move |name: &str| {
            let rest = tenant.map(|tenant| name.strip_prefix(tenant));
            rest.is_none_or(|rest| rest.is_some_and(|rest| rest.starts_with('\0')))
        };
        let found = self.slots.range::<str, _>((from.as_ref().map(|from| &**from), Bound::Unbounded));
        found.take_while(move |(name, _)| of_tenant(name)).map(|(_, slot)| *slot).take(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Page by page, in pieces of any length, all governors come once and in order, or those of one tenant.
        #[test]
        fn pages_are_in_order_and_leave_nothing_out(
            names in prop::collection::btree_set(("[a-c.-]{1,3}", "[a-c._-]{1,3}"), 0..60),
            tenant in prop::option::of("[a-c.-]{1,3}"),
            limit in 1usize..9,
        ) {
            let mut directory = Directory::default();
            let names: Vec<(String, String)> = names.into_iter().collect();
            for (slot, (tenant, sku)) in names.iter().enumerate() {
                directory.insert(&key(tenant, sku), u32::try_from(slot).unwrap());
            }
            let mut expected: Vec<&(String, String)> =
                names.iter().filter(|(each, _)| tenant.as_ref().is_none_or(|tenant| tenant == each)).collect();
            expected.sort();
            let mut page = Page { tenant: tenant.clone().map(Into::into), limit, ..Page::default() };
            let mut found = Vec::new();
            loop {
                let slots: Vec<u32> = directory.slots(&page, limit).collect();
                let Some(last) = slots.last() else { break };
                let (tenant, sku) = &names[*last as usize];
                page.after = Some((tenant.as_str().into(), sku.as_str().into()));
                found.extend(slots.iter().map(|slot| &names[*slot as usize]));
            }
            prop_assert_eq!(found, expected);
        }
    }
}
