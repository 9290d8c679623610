//! Laws of what ids of requests carry, and of what stands behind answers to them.

use proptest::prelude::*;

use super::laws::any_object;
use super::*;
use crate::kademlia::wire::trailer::LONGEST_TRAILER;

proptest! {
    #[test]
    fn a_mark_is_seen_whatever_it_carries_and_no_other_id_has_it(
        id: [u8; 20],
        features in 0_u64..256,
        pass: Option<[u8; 6]>,
    ) {
        let (drawn, features) = (RpcId::new(id), Features(features));
        let marked = drawn.marked(features, pass);
        prop_assert!(marked.is_marked());
        prop_assert_eq!(marked.features(), features);
        prop_assert_eq!(marked.pass(), pass.unwrap_or_else(|| drawn.pass()));
        prop_assert_eq!(marked.receipt(), drawn.receipt(), "what is drawn stays");
        prop_assert_eq!(&marked.as_bytes()[..10], &id[..10]);
        let mut other = *marked.as_bytes();
        other[19] ^= 1;
        prop_assert!(!RpcId::new(other).is_marked());
    }

    #[test]
    fn a_trailer_stands_behind_any_answer_and_within_none(
        object in any_object(),
        features in 0_u64..256,
        pass: [u8; 6],
        id: Option<[u8; 20]>,
    ) {
        let answer = pack(&object);
        prop_assert_eq!(decode_trailer(&answer), None);
        let trailer = Trailer { features: Features(features), pass, id: id.map(NodeId::new) };
        let mut trailed = answer.clone();
        encode_trailer(&mut trailed, &trailer);
        prop_assert!(trailed.len() - answer.len() <= LONGEST_TRAILER);
        prop_assert_eq!(decode_trailer(&trailed), Some(trailer));
        let mut datagram = [&[1][..], &[7; 20], &trailed].concat();
        strip_trailer(&mut datagram);
        prop_assert_eq!(&datagram[HEADER_BYTES..], &answer);
    }
}
