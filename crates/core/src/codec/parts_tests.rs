//! Blocks beside the stream.

use super::buffer::Buffer;
use super::parts::{Content, Message, PART_MIN, PARTS_MAX, Parts, can_lend};
use super::*;
use proptest::prelude::*;
use serde::{Deserialize, Serializer};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// As it arrives.
fn carried(message: &Message) -> Content {
    let parts = message.parts.iter().map(|(bytes, unit)| {
        let mut buffer = Buffer::new(unit).expect("a size of numbers");
        buffer.try_reserve(bytes.len()).expect("memory");
        buffer.extend_from_slice(bytes);
        buffer
    });
    Content { stream: message.stream.clone().into(), parts: parts.collect() }
}

fn message_of<T: Serialize + Send + 'static>(value: T, min: usize) -> Message {
    let mut message = Message { stream: Vec::new(), parts: Parts::from_size(min) };
    let _ = encode_whole(value, &mut message, 0).expect("it can be written");
    message
}

fn read<T: DeserializeOwned>(mut content: Content) -> Result<T, CodecFailure> {
    decode_content(&content.stream, &mut content.parts)
}

/// There and back; gives how many parts there were.
#[track_caller]
fn round_trip<T>(value: T, min: usize) -> usize
where
    T: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + 'static,
{
    let message = message_of(value.clone(), min);
    assert_eq!(read::<T>(carried(&message)), Ok(value));
    message.parts.len()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Own {
    id: u32,
    bytes: Vec<u8>,
    floats: Option<Vec<f64>>,
    text: String,
    more: Vec<Own>,
}

#[test]
fn large_blocks_stand_beside_the_stream_and_small_ones_in_it() {
    assert_eq!(round_trip(vec![1_u8; PART_MIN], PART_MIN), 1);
    assert_eq!(round_trip(vec![1_u8; PART_MIN - 1], PART_MIN), 0);
    assert_eq!(round_trip(vec![1.5_f64; PART_MIN / 8], PART_MIN), 1);
    assert_eq!(round_trip(vec![1.5_f32; PART_MIN / 4], PART_MIN), 1);
    assert_eq!(round_trip(vec![-1_i8; PART_MIN], PART_MIN), 1);
    assert_eq!(round_trip(serde_bytes::ByteBuf::from(vec![3; PART_MIN]), PART_MIN), 1);
    assert_eq!(round_trip("x".repeat(PART_MIN), PART_MIN), 1);
    assert_eq!(round_trip((7_u64, vec![1_u8; 1 << 20]), PART_MIN), 1);
    assert_eq!(round_trip(HashMap::from([("a".to_owned(), vec![1_u8; 1 << 20])]), PART_MIN), 1);
    // What is written element by element stays in the stream, whatever it is read as.
    assert_eq!(round_trip(VecDeque::from(vec![1_u8; 1 << 17]), PART_MIN), 0);
    assert_eq!(round_trip(vec![1_u32; 1 << 17], PART_MIN), 0);
    let stream = message_of(vec![1_u8; 1 << 20], PART_MIN).stream;
    assert!(stream.len() <= 10, "{}", stream.len());
}

#[test]
fn without_large_blocks_the_stream_is_postcards() {
    let value = (7_u64, vec![1_u8; 1000], "text".to_owned());
    let message = message_of(value.clone(), PART_MIN);
    assert_eq!(message.stream, postcard::to_stdvec(&value).expect("postcard writes it"));
}

#[test]
fn what_arrives_becomes_the_vector() {
    let bytes = carried(&message_of(vec![1_u8; PART_MIN], PART_MIN));
    let start = bytes.parts[0].as_ptr();
    let back = read::<Vec<u8>>(bytes).expect("bytes");
    assert_eq!(back.as_ptr(), start);

    let floats = carried(&message_of((1_u8, vec![1.0_f64; PART_MIN]), PART_MIN));
    let start = floats.parts[0].as_ptr();
    let back = read::<(u8, Vec<f64>)>(floats).expect("floats");
    assert_eq!(back.1.as_ptr().cast(), start);

    let text = carried(&message_of(Some("x".repeat(PART_MIN)), PART_MIN));
    let start = text.parts[0].as_ptr();
    let back = read::<Option<String>>(text).expect("a text");
    assert_eq!(back.as_ref().expect("it").as_ptr(), start);

    let bytes = carried(&message_of(serde_bytes::ByteBuf::from(vec![1_u8; PART_MIN]), PART_MIN));
    let start = bytes.parts[0].as_ptr();
    let back = read::<serde_bytes::ByteBuf>(bytes).expect("bytes");
    assert_eq!(back.as_ptr(), start);
}

/// Tells where the blocks are that it gets.
#[derive(Debug)]
struct Retired(std::sync::Mutex<Vec<(usize, usize, usize)>>);

impl BlockMemory for Retired {
    fn buffer(&self, unit: usize, len: usize) -> Option<Buffer> {
        Buffer::with_room(unit, len)
    }

    fn retire(&self, block: Buffer) {
        self.0.lock().expect("nobody panics").push((block.as_ptr().addr(), block.capacity(), block.unit()));
    }
}

/// Which blocks go to the memory when the message of `value` is dropped, and which it had.
fn retired<T: Serialize + Send + 'static>(value: T) -> [Vec<(usize, usize, usize)>; 2] {
    let memory: &'static Retired = Box::leak(Box::new(Retired(std::sync::Mutex::default())));
    let mut message = Message { stream: Vec::new(), parts: Parts::new(Some(memory)) };
    let _ = encode_whole(value, &mut message, 0).expect("it can be written");
    let had = message.parts.iter().map(|(bytes, unit)| (bytes.as_ptr().addr(), bytes.len(), unit)).collect();
    drop(message);
    [std::mem::take(&mut *memory.0.lock().expect("nobody panics")), had]
}

#[test]
fn what_was_copied_and_most_of_what_was_lent_goes_to_the_memory() {
    let bytes = || vec![1_u8; PART_MIN];
    let own = Own { id: 1, bytes: bytes(), floats: Some(vec![0.5; PART_MIN]), text: String::new(), more: Vec::new() };
    for [retired, had] in [
        retired(bytes()),
        retired(vec![1.0_f32; PART_MIN]),
        retired((7_u64, vec![1.0_f64; PART_MIN])),
        retired((vec![1_i8; PART_MIN], bytes())),
        retired(Some(bytes())),
        retired("x".repeat(PART_MIN)),
        retired(own),
    ] {
        assert!(!had.is_empty());
        assert_eq!(retired, had);
    }
    // Of others the memory is freed.
    let [retired, had] = retired(HashMap::from([("a".to_owned(), bytes())]));
    assert_eq!((retired.len(), had.len()), (0, 1));
}

#[test]
fn a_block_is_read_as_whatever_takes_a_sequence() {
    let content = || carried(&message_of(vec![3_u8; PART_MIN], PART_MIN));
    assert_eq!(read::<VecDeque<u8>>(content()).expect("bytes").len(), PART_MIN);
    assert_eq!(read::<Box<[u8]>>(content()).expect("bytes").len(), PART_MIN);
    assert_eq!(read::<std::collections::HashSet<u8>>(content()).expect("bytes").len(), 1);
    assert!(read::<Vec<f64>>(content()).is_err());
    let floats = carried(&message_of(vec![0.5_f32; PART_MIN], PART_MIN));
    assert_eq!(read::<VecDeque<f32>>(floats).expect("floats"), vec![0.5; PART_MIN]);
}

#[test]
fn what_can_be_lent_is_not_copied_and_lives_as_long_as_its_parts() {
    let bytes = vec![5_u8; 1 << 20];
    let start = bytes.as_ptr();
    let message = message_of((1_usize, bytes), PART_MIN);
    assert_eq!(message.parts.get(0).as_ptr(), start);
    assert!(message.parts.get(0).iter().all(|byte| *byte == 5));

    let shared: Arc<[u8]> = vec![6; PART_MIN].into();
    assert!(can_lend::<Arc<[u8]>>() && !can_lend::<Own>() && !can_lend::<Box<[u8]>>());
    drop(shared);
    // A type of the user's may show us what it has only for the moment.
    struct Moment;
    impl Serialize for Moment {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            vec![9_u8; 1 << 20].serialize(serializer)
        }
    }
    let message = message_of(Moment, PART_MIN);
    assert!(message.parts.get(0).iter().all(|byte| *byte == 9));
}

#[test]
fn a_failure_leaves_nothing_behind() {
    #[derive(Serialize)]
    struct Late(Vec<u8>, #[serde(serialize_with = "fails")] ());
    fn fails<S: Serializer>(_: &(), _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
    let mut message = message_of(vec![1_u8; PART_MIN], PART_MIN);
    let before = message.stream.clone();
    let failure = encode_whole(Late(vec![1; PART_MIN], ()), &mut message, 0).expect_err("it fails");
    assert_eq!(failure.message(), "no");
    assert_eq!((message.stream, message.parts.len()), (before, 1));
}

#[test]
fn there_are_not_more_parts_than_agreed() {
    let many = vec![vec![1_u8; 10]; PARTS_MAX + 10];
    assert_eq!(round_trip(many, 10), PARTS_MAX);
}

#[test]
fn parts_that_do_not_fit_are_errors() {
    let content = || carried(&message_of((vec![3_u8; 100], vec![1.0_f64; 100]), 100));
    let refused = |change: &dyn Fn(&mut Content)| {
        let mut content = content();
        change(&mut content);
        read::<(Vec<u8>, Vec<f64>)>(content).expect_err("it does not fit").into_message()
    };
    assert!(refused(&|content| drop(content.parts.pop())).contains("middle"));
    assert!(refused(&|content| content.parts.swap(0, 1)).contains("expected"));
    assert!(refused(&|content| content.parts.push(Buffer::new(1).expect("one"))).contains("left"));
    assert!(refused(&|content| content.parts[0] = Buffer::new(1).expect("one")).contains("announced"));
    let bytes = content().stream;
    assert!(decode::<(Vec<u8>, Vec<f64>)>(&bytes).expect_err("no parts").message().contains("middle"));
    assert!(decode::<Vec<u64>>(&bytes).is_err());
    assert!(decode::<String>(&bytes).is_err());
}

#[test]
fn a_buffer_grows_and_keeps_its_bytes() {
    for unit in [1, 4, 8] {
        let mut buffer = Buffer::new(unit).expect("a size of numbers");
        let mut expected = Vec::new();
        for n in 1..200_u8 {
            buffer.try_reserve(n.into()).expect("memory");
            buffer.extend_from_slice(&vec![n; n.into()]);
            expected.extend(vec![n; n.into()]);
            assert_eq!(buffer.capacity() % unit, 0);
        }
        assert_eq!(*buffer, *expected);
        assert!(buffer.try_reserve(usize::MAX).is_none() && buffer.try_reserve(isize::MAX as usize).is_none());
        assert_eq!(*buffer, *expected);
    }
    assert!(Buffer::new(2).is_none());
}

fn own() -> impl Strategy<Value = Own> {
    let leaf =
        (any::<u32>(), any::<Vec<u8>>(), proptest::option::of(proptest::collection::vec(-1e9..1e9, 0..20)), ".*")
            .prop_map(|(id, bytes, floats, text)| Own { id, bytes, floats, text, more: Vec::new() });
    leaf.prop_recursive(3, 20, 4, |inner| {
        (any::<u32>(), proptest::collection::vec(inner, 0..4)).prop_map(|(id, more)| Own {
            id,
            bytes: vec![1; 30],
            floats: None,
            text: String::new(),
            more,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_value_comes_back_whatever_is_beside(
        own in own(), map in any::<BTreeMap<String, Vec<u8>>>(), pair in any::<(Vec<u8>, String)>(), min in 1..100_usize,
    ) {
        round_trip(own, min);
        round_trip(map, min);
        round_trip(pair, min);
    }

    #[test]
    fn damaged_messages_are_read_without_harm(
        own in own(), min in 1..100_usize, place in any::<prop::sample::Index>(), byte in any::<u8>(),
        part in any::<prop::sample::Index>(), lost in any::<bool>(),
    ) {
        let mut message = message_of(own, min);
        let place = place.index(message.stream.len());
        message.stream[place] = byte;
        let mut content = carried(&message);
        if lost && !content.parts.is_empty() {
            let part = part.index(content.parts.len());
            content.parts.remove(part);
        }
        if let Err(failure) = read::<Own>(content) {
            prop_assert!(!failure.message().starts_with("panicked"), "{failure}");
        }
    }

    #[test]
    fn noise_with_parts_is_read_without_harm(
        stream in any::<Vec<u8>>(), parts in proptest::collection::vec((0..3_usize, 0..40_usize), 0..4),
    ) {
        let parts = || parts.iter().map(|(unit, len)| {
            let mut buffer = Buffer::new([1, 4, 8][*unit]).expect("a size of numbers");
            buffer.try_reserve(*len).expect("memory");
            buffer.extend_from_slice(&vec![1; *len]);
            buffer
        }).collect();
        let content = || Content { stream: stream.clone().into(), parts: parts() };
        let failures = [
            read::<Own>(content()).err(),
            read::<Vec<Vec<f64>>>(content()).err(),
            read::<(Vec<u8>, String, VecDeque<f32>)>(content()).err(),
        ];
        prop_assert!(failures.into_iter().flatten().all(|failure| !failure.message().starts_with("panicked")));
    }
}
