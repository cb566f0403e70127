//! Payload that tells who wrote it, as which unroll, and where.

use impala_rl::ring::Owner;
use impala_rl::unroll::{BlockRef, Field, GroupHeader, GroupMut};

/// splitmix64: enough to choose faults and to fill bytes.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

pub(super) fn header_of(owner: Owner, sequence: u64) -> GroupHeader {
    let (actor, incarnation) = (owner.actor().into(), owner.incarnation().into());
    GroupHeader {
        actor,
        incarnation,
        sequence,
        policy_version: mix(sequence),
        ..Default::default()
    }
}

/// The bytes of one row of one field of a group with this header.
fn pattern(header: &GroupHeader, field: Field, row: usize) -> impl Iterator<Item = u8> + use<> {
    let incarnation = u64::from(header.actor) << 32 | u64::from(header.incarnation);
    let row = mix(mix(mix(incarnation) ^ header.sequence) ^ ((field as u64) << 32 | row as u64));
    (0_u8..).map_while(move |i| Some((row.rotate_left(u32::from(i) * 8) as u8).wrapping_add(i)))
}

fn fields() -> impl Iterator<Item = Field> {
    Field::ALL.into_iter().filter(|&field| field != Field::Header)
}

pub(super) fn write(group: &mut GroupMut<'_>, header: &GroupHeader, rows: impl Fn(usize) -> usize) {
    *group.header_mut() = *header;
    for field in fields() {
        for row in 0..rows(group.layout().rows(field)) {
            let bytes = group.row_mut::<u8>(field, row).iter_mut();
            bytes.zip(pattern(header, field, row)).for_each(|(byte, expected)| *byte = expected);
        }
    }
}

pub(super) fn check(block: &BlockRef<'_>) {
    let layout = block.layout();
    for (group, header) in block.headers().iter().enumerate() {
        assert_eq!(header.policy_version, mix(header.sequence), "{header:?}");
        for field in fields() {
            let all = block.field::<u8>(field);
            let start = layout.field_range(field).start;
            for row in 0..layout.rows(field) {
                let range = layout.group_range(field, row, group);
                let found = &all[range.start - start..range.end - start];
                let expected = pattern(header, field, row).take(found.len());
                assert!(found.iter().copied().eq(expected), "{field:?} row {row} of {header:?}");
            }
        }
    }
}
