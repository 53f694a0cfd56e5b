use super::*;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender, IpcSharedMemory};
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Encodes, compares with postcard's bytes, decodes.
#[track_caller]
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: &T) {
    let bytes = bytes_of(value);
    assert_eq!(bytes, postcard::to_stdvec(value).expect("postcard writes it"));
    assert_eq!(&decode::<T>(&bytes).expect("it can be read"), value);
}

#[track_caller]
fn bytes_of<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = encode(value, &mut bytes).expect("it can be written");
    assert!(!encoded.handles, "no handle in it");
    bytes
}

#[track_caller]
fn refusal<T: Serialize>(value: &T) -> CodecFailure {
    let mut bytes = vec![1, 2, 3];
    let failure = encode(value, &mut bytes).expect_err("it cannot be written");
    assert_eq!(bytes, [1, 2, 3], "what was there stays, nothing is added");
    failure
}

#[track_caller]
fn misreading<T: DeserializeOwned + fmt::Debug>(bytes: &[u8]) -> String {
    decode::<T>(bytes).expect_err("it cannot be read").into_message()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i32, String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Id(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    One(Box<Shape>),
    Two(u8, Vec<Shape>),
    Named { key: String, bytes: Vec<u8>, floats: Vec<f64> },
    Leaf(u128, i128, char, bool),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    unit: (),
    marker: Unit,
    wrapped: Newtype,
    pair: Pair,
    shape: Option<Shape>,
    nested: Option<Option<u64>>,
    map: BTreeMap<String, Vec<Option<i16>>>,
    tuple: (u8, u16, u32, u64, i8, i64, f32, f64),
    array: [u16; 3],
    set: std::collections::BTreeSet<char>,
    text: Cow<'static, str>,
    result: Result<u32, String>,
    time: Duration,
}

fn record() -> Record {
    Record {
        unit: (),
        marker: Unit,
        wrapped: Newtype(u64::MAX),
        pair: Pair(-7, "seven".to_owned()),
        shape: Some(Shape::Two(3, vec![Shape::Nothing, Shape::One(Box::new(Shape::Leaf(1, -1, 'ß', true)))])),
        nested: Some(None),
        map: [("a".to_owned(), vec![Some(-1), None]), (String::new(), vec![])].into(),
        tuple: (1, 2, 3, 0, -1, i64::MIN, 1.5, f64::MIN_POSITIVE),
        array: [0, 1, u16::MAX],
        set: ['x', 'y'].into(),
        text: "text".into(),
        result: Err("no".to_owned()),
        time: Duration::from_millis(1500),
    }
}

#[test]
fn bytes_are_postcards() {
    round_trip(&0u64);
    round_trip(&u64::MAX);
    round_trip(&usize::MAX);
    round_trip(&-1i32);
    round_trip(&());
    round_trip(&Unit);
    round_trip(&Newtype(300));
    round_trip(&Pair(i32::MIN, "text".to_owned()));
    round_trip(&'€');
    round_trip(&1.5f32);
    round_trip(&Some(Some(false)));
    round_trip(&None::<Unit>);
    round_trip(&(1u8, "a".to_owned(), [1u64, 0, 3]));
    round_trip(&vec![0u64, 1, 128, 0]);
    round_trip(&vec![(); 1000]);
    round_trip(&Shape::Nothing);
    round_trip(&Shape::Named { key: "k".to_owned(), bytes: vec![1, 2, 3], floats: vec![0.5, -0.0] });
    round_trip(&record());
    round_trip(&VecDeque::from([1u8, 2]));
    round_trip(&HashSet::from([5usize]));
    round_trip(&HashMap::from([(0u64, 0u64)]));
    round_trip(&serde_bytes::ByteBuf::from(vec![1, 2, 3]));
    round_trip(&std::num::NonZeroU64::MIN);
}

#[test]
fn a_block_is_a_block_wherever_it_is() {
    round_trip(&vec![0u8, 200, 3]);
    round_trip(&Vec::<u8>::new());
    round_trip(&vec![-1i8, 0, 1]);
    round_trip(&vec![f32::MIN, 0.1]);
    round_trip(&vec![f64::MAX, 0.1]);
    round_trip(&(0..100_000).map(|n| n as u8).collect::<Vec<u8>>());
    round_trip(&vec![vec![1u8], vec![], vec![2, 3]]);
    round_trip(&vec![9u8; 3].into_boxed_slice());
    round_trip(&Cow::<[u8]>::Owned(vec![1, 2]));
    round_trip(&Some((vec![1.0f64], vec![7u8])));

    let plain = postcard::to_stdvec(&[1u8, 2, 3][..]).expect("postcard writes it");
    assert_eq!(bytes_of(&[1u8, 2, 3][..]), plain);
    assert_eq!(bytes_of(&&[1u8, 2, 3][..]), plain);
    assert_eq!(bytes_of(&Box::new(vec![1u8, 2, 3])), plain);
    assert_eq!(bytes_of(&Cow::Borrowed(&[1u8, 2, 3][..])), plain);

    // A block is taken from what is there, or not at all.
    misreading::<Vec<u8>>(&[4, 1, 2, 3]);
    misreading::<Vec<f64>>(&[1, 0, 0, 0, 0, 0, 0, 0]);
    misreading::<Vec<f64>>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    misreading::<Vec<u8>>(&[1, 1, 1]);
}

/// A visitor that also makes a `Vec<u8>`, but is not serde's.
#[derive(Debug, PartialEq)]
struct Doubled(Vec<u8>);

impl<'de> Deserialize<'de> for Doubled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Doubling;
        impl<'de> serde::de::Visitor<'de> for Doubling {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
                let mut doubled = Vec::new();
                while let Some(element) = elements.next_element::<u8>()? {
                    doubled.push(element * 2);
                }
                Ok(doubled)
            }
        }
        deserializer.deserialize_seq(Doubling).map(Doubled)
    }
}

#[test]
fn a_visitor_of_the_users_sees_each_element() {
    assert_eq!(decode::<Doubled>(&[2, 1, 2]), Ok(Doubled(vec![2, 4])));
}

/// Writes its numbers without saying how many there are, or by saying a wrong number.
struct Stream(Vec<u64>, Option<usize>);

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut elements = serializer.serialize_seq(self.1)?;
        for element in &self.0 {
            elements.serialize_element(element)?;
        }
        elements.end()
    }
}

#[test]
fn an_unknown_length_is_counted() {
    for len in [0, 1, 127, 128, 20_000] {
        let numbers = (0..len).collect::<Vec<u64>>();
        let bytes = bytes_of(&(7u8, Stream(numbers.clone(), None), 8u8));
        assert_eq!(decode::<(u8, Vec<u64>, u8)>(&bytes), Ok((7, numbers, 8)));
    }

    struct Odd;
    impl Serialize for Odd {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map((0..10u8).filter(|n| n % 2 == 1).map(|n| (n, Stream(vec![1; n.into()], None))))
        }
    }
    let odd: BTreeMap<u8, Vec<u64>> = decode(&bytes_of(&Odd)).expect("it can be read");
    assert_eq!(odd.keys().copied().collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    assert_eq!(odd[&9], [1; 9]);
}

#[test]
fn a_wrong_length_is_refused() {
    assert!(refusal(&Stream(vec![1, 2], Some(3))).message().contains("3 elements was announced, 2 came"));
    assert!(refusal(&Stream(vec![1, 2], Some(1))).message().contains("1 elements was announced, 2 came"));
}

#[test]
fn what_cannot_be_read_back_is_refused_in_words() {
    #[derive(Serialize, Deserialize, Debug)]
    struct Gaps {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        b: u8,
    }
    assert!(refusal(&Gaps { a: None, b: 1 }).message().contains("`a` was left out"));
    let bytes = bytes_of(&Gaps { a: Some(2), b: 1 });
    assert!(decode::<Gaps>(&bytes).is_ok_and(|gaps| gaps.a == Some(2) && gaps.b == 1));

    #[derive(Serialize, Deserialize, Debug)]
    #[serde(untagged)]
    enum Untagged {
        A(u8),
    }
    assert!(misreading::<Untagged>(&bytes_of(&Untagged::A(1))).contains("untagged"));

    #[derive(Serialize, Deserialize, Debug)]
    struct Flat {
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let flat = Flat { rest: [("x".to_owned(), 1)].into() };
    assert!(misreading::<Flat>(&bytes_of(&flat)).contains("flatten"));
}

/// Fails or panics where and how it is told.
#[derive(Debug)]
enum Bad {
    Error,
    Panic,
    StrangePanic,
}

impl Serialize for Bad {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match self {
            Bad::Error => Err(serde::ser::Error::custom("bad mood")),
            Bad::Panic => panic!("very bad mood, {}", 1),
            Bad::StrangePanic => std::panic::panic_any(17),
        }
    }
}

impl<'de> Deserialize<'de> for Bad {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Err(serde::de::Error::custom("bad news")),
            _ => panic!("very bad news"),
        }
    }
}

#[test]
fn the_users_words_arrive() {
    assert_eq!(refusal(&(1, "text", Bad::Error)).message(), "bad mood");
    assert_eq!(refusal(&(1, "text", Bad::Panic)).message(), "panicked: very bad mood, 1");
    assert!(refusal(&Some(Bad::StrangePanic)).message().starts_with("panicked: "));
    assert_eq!(misreading::<(u8, Bad)>(&[9, 0]), "bad news");
    assert_eq!(misreading::<(u8, Bad)>(&[9, 1]), "panicked: very bad news");
    assert!(misreading::<std::num::NonZeroU64>(&[0]).contains("nonzero"));
}

#[test]
fn bytes_must_be_enough_and_no_more() {
    let bytes = bytes_of(&record());
    for len in 0..bytes.len() {
        misreading::<Record>(&bytes[..len]);
    }
    assert!(misreading::<u64>(&[]).contains("end in the middle"));
    assert!(misreading::<u64>(&[1, 2]).contains("1 bytes are left"));
    assert!(misreading::<()>(&[0]).contains("1 bytes are left"));
    assert!(misreading::<bool>(&[2]).contains("bool"));
    assert!(misreading::<Option<u8>>(&[2, 0]).contains("Option"));
    assert!(misreading::<String>(&[1, 0xff]).contains("UTF-8"));
    assert!(misreading::<u16>(&[0xff, 0xff, 0xff]).contains("too large"));
    assert!(misreading::<Shape>(&[5]).contains("variant"));
}

#[test]
fn what_a_reader_leaves_is_an_error() {
    #[derive(Debug)]
    struct First;
    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = First;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("numbers")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<First, A::Error> {
                    elements.next_element::<u8>().map(|_| First)
                }
            }
            deserializer.deserialize_seq(Visitor)
        }
    }
    assert!(decode::<First>(&[1, 7]).is_ok());
    assert_eq!(misreading::<First>(&[3, 7, 7, 7]), "2 of 3 elements were not taken");
}

#[test]
fn announced_elements_take_no_memory_before_they_come() {
    let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert!(misreading::<Vec<()>>(&endless).contains("elements are announced"));
    assert!(misreading::<Vec<u64>>(&endless).contains("elements are announced"));
    assert!(misreading::<HashMap<(), u64>>(&endless).contains("elements are announced"));
    let twice = [endless; 2].concat();
    assert!(misreading::<(Vec<()>, Vec<()>)>(&twice).contains("elements are announced"));
    assert!(misreading::<String>(&endless).contains("end in the middle"));
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

impl Chain {
    fn of(links: usize) -> Chain {
        (0..links).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))))
    }

    /// Without recursion, unlike the destructor that the compiler makes.
    fn unlink(mut self) -> usize {
        let mut links = 0;
        while let Some(next) = self.0.take() {
            self = *next;
            links += 1;
        }
        links
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let chain = Chain::of(100);
    assert_eq!(decode::<Chain>(&bytes_of(&chain)).map(Chain::unlink), Ok(100));

    let deep = Chain::of(200_000);
    assert!(refusal(&deep).message().contains("nested too deeply"));
    deep.unlink();
    assert!(misreading::<Chain>(&[1; 1_000_000]).contains("nested too deeply"));
}

/// Empties this thread's thread-local as the process pool does, and tells how many handles were in it.
fn parked() -> usize {
    let (sender, receiver) = ipc::channel::<Vec<usize>>().expect("a channel");
    let sentinel = |handle: &dyn Fn() -> Vec<u8>| decode::<usize>(&handle()).expect("an index");
    let channels = sentinel(&|| postcard::to_stdvec(&sender).expect("an index"));
    let memory = IpcSharedMemory::from_byte(0, 1);
    let regions = sentinel(&|| postcard::to_stdvec(&memory).expect("an index"));
    sender.send(vec![]).expect("room for one message");
    drop(receiver);
    channels + regions
}

/// Encodes, and tells whether handles were noticed and how many there were.
#[track_caller]
fn noticed<T: Serialize>(value: T) -> (bool, usize) {
    assert_eq!(parked(), 0, "the thread starts clean");
    let encoded = encode(&value, &mut Vec::new()).expect("it can be written");
    (encoded.handles, parked())
}

#[test]
fn handles_are_noticed_by_their_type() {
    let sender = || ipc::channel::<u8>().expect("a channel").0;
    let receiver = || ipc::channel::<u8>().expect("a channel").1;
    assert_eq!(noticed(sender()), (true, 1));
    assert_eq!(noticed(receiver()), (true, 1));
    assert_eq!(noticed(sender().to_opaque()), (true, 1));
    assert_eq!(noticed(receiver().to_opaque()), (true, 1));
    assert_eq!(noticed(ipc::bytes_channel().expect("a channel").0), (true, 1));
    assert_eq!(noticed(ipc::bytes_channel().expect("a channel").1), (true, 1));
    assert_eq!(noticed(IpcSharedMemory::from_bytes(b"shared")), (true, 1));
    assert_eq!(noticed(Some(sender())), (true, 1));
    assert_eq!(noticed(vec![sender(), sender()]), (true, 2));
    assert_eq!(noticed((1u64, "text", Ok::<_, ()>(receiver()))), (true, 1));
    assert_eq!(noticed((IpcSharedMemory::from_byte(1, 10), sender())), (true, 2));
    assert_eq!(noticed(Box::new(sender())), (true, 1));
    assert_eq!(noticed(Some(&[sender()])), (true, 1));

    #[derive(Serialize)]
    struct Work {
        number: u64,
        reply: IpcSender<u64>,
        table: Arc2<IpcSharedMemory>,
    }
    #[derive(Serialize)]
    struct Arc2<T>(T);
    let table = Arc2(IpcSharedMemory::from_byte(7, 7));
    assert_eq!(noticed(Work { number: 1, reply: ipc::channel().expect("a channel").0, table }), (true, 2));

    // Memory of no bytes has no region; another false alarm.
    assert_eq!(noticed(IpcSharedMemory::from_bytes(b"")), (true, 0));
}

#[test]
fn handles_are_noticed_inside_types_that_pass_the_call_on() {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Outer<T>(Inner<T>);
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Inner<T>(T);
    let sender = || ipc::channel::<u8>().expect("a channel").0;
    assert_eq!(noticed(Outer(Inner(sender()))), (true, 1));
    assert_eq!(noticed((7u8, [Inner(sender()), Inner(sender())])), (true, 2));
    assert_eq!(noticed(Inner(IpcSharedMemory::from_byte(1, 1))), (true, 1));
    assert_eq!(noticed((Inner(IpcSharedMemory::from_byte(1, 1)), Inner(sender()))), (true, 2));

    struct ByHand(IpcReceiver<u8>);
    impl Serialize for ByHand {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }
    assert_eq!(noticed(ByHand(ipc::channel().expect("a channel").1)), (true, 1));

    #[derive(Serialize)]
    struct With {
        #[serde(serialize_with = "pass_on")]
        reply: IpcSender<u8>,
    }
    fn pass_on<S: Serializer>(reply: &IpcSender<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        reply.serialize(serializer)
    }
    assert_eq!(noticed(With { reply: sender() }), (true, 1));
}

#[test]
fn numbers_are_no_handles() {
    assert_eq!(noticed(0u64), (false, 0));
    assert_eq!(noticed((0u64, 0usize, [0u64; 3], vec![0u64, 0], vec![0usize])), (false, 0));
    assert_eq!(noticed(Some(Newtype(0))), (false, 0));
    assert_eq!(noticed(Duration::ZERO), (false, 0));
    assert_eq!(noticed(BTreeMap::from([(0u64, 0usize)])), (false, 0));
    assert_eq!(noticed(Shape::Two(0, vec![])), (false, 0));
    assert_eq!(noticed((0..10u64).map(|n| Id(n + 1)).collect::<Vec<_>>()), (false, 0));
    assert_eq!(noticed(std::sync::atomic::AtomicU64::new(0)), (false, 0));
    assert_eq!(noticed([std::sync::atomic::AtomicUsize::new(0)]), (false, 0));
    assert_eq!(noticed(vec![std::num::Wrapping(0u64)]), (false, 0));
    // The false alarm: a type that is not known writes what may be an index.
    assert_eq!(noticed(Id(0)), (true, 0));
    assert_eq!(encode(&Id(0), &mut Vec::new()), Ok(Encoded { handles: true, known: 0 }));
}

#[test]
fn a_failure_tells_of_parked_handles() {
    let sender = ipc::channel::<u8>().expect("a channel").0;
    assert_eq!(parked(), 0);
    let failure = refusal(&(sender.clone(), Bad::Error));
    assert!(failure.handles());
    assert_eq!(parked(), 1);
    assert!(refusal(&(sender.clone(), Bad::Panic)).handles());
    assert_eq!(parked(), 1);
    assert!(!refusal(&(Bad::Error, sender.clone())).handles());
    assert_eq!(parked(), 0);

    assert_eq!(refusal(&(sender.clone(), sender, Bad::Error)).known_handles(), 2);
    assert_eq!(parked(), 2);
}

#[test]
fn a_message_has_no_more_handles_than_can_be_sent() {
    let sender = ipc::channel::<u8>().expect("a channel").0;
    let many = vec![sender.clone(); MAX_HANDLES];
    assert_eq!(noticed(&many), (true, MAX_HANDLES));

    let failure = refusal(&vec![sender.clone(); MAX_HANDLES + 1]);
    assert!(failure.message().contains("more than 62 channels"));
    assert_eq!(parked(), MAX_HANDLES, "the one too many is not parked");

    let region = || IpcSharedMemory::from_byte(1, 1);
    let mut out = Vec::new();
    let first = encode_beside(&many[2..], &mut out, 0).expect("room for two more");
    assert_eq!(first.known, MAX_HANDLES - 2);
    let second = encode_beside(&(&sender, region()), &mut out, first.known).expect("room for two");
    let failure = encode_beside(&(7u8, sender), &mut out, first.known + second.known).expect_err("no room");
    assert_eq!(failure.known_handles(), 0);
    assert!(encode_beside(&7u64, &mut out, MAX_HANDLES).is_ok_and(|encoded| !encoded.handles));
    assert_eq!(parked(), MAX_HANDLES);
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Nothing),
        (any::<u128>(), any::<i128>(), any::<char>(), any::<bool>()).prop_map(|(a, b, c, d)| Shape::Leaf(a, b, c, d)),
        (".*", any::<Vec<u8>>(), proptest::collection::vec(-1e300f64..1e300, 0..9))
            .prop_map(|(key, bytes, floats)| Shape::Named { key, bytes, floats }),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            inner.clone().prop_map(|shape| Shape::One(Box::new(shape))),
            (any::<u8>(), proptest::collection::vec(inner, 0..8)).prop_map(|(n, shapes)| Shape::Two(n, shapes)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_structure_makes_the_round_trip(
        shapes in proptest::collection::vec(shape(), 0..4),
        map in any::<BTreeMap<String, Option<(i64, Vec<i8>)>>>(),
        numbers in any::<(Vec<u64>, Vec<f32>, Option<Vec<u16>>, u64, usize)>(),
    ) {
        prop_assume!(numbers.1.iter().all(|number| !number.is_nan()));
        round_trip(&(shapes, map, numbers));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in any::<Vec<u8>>()) {
        // What comes out does not matter; nothing panics, hangs or eats the memory.
        let failures = [
            decode::<Record>(&bytes).err(),
            decode::<Vec<Shape>>(&bytes).err(),
            decode::<Vec<Vec<bool>>>(&bytes).err(),
            decode::<HashMap<String, Vec<f64>>>(&bytes).err(),
            decode::<(Vec<u8>, Vec<String>, Option<char>)>(&bytes).err(),
            decode::<Chain>(&bytes).err(),
        ];
        prop_assert!(failures.into_iter().flatten().all(|failure| !failure.message().starts_with("panicked")));
    }

    #[test]
    fn damaged_bytes_are_read_without_harm(
        shapes in proptest::collection::vec(shape(), 1..4), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = bytes_of(&(&shapes, record()));
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Err(failure) = decode::<(Vec<Shape>, Record)>(&bytes) {
            prop_assert!(!failure.message().starts_with("panicked"));
        }
    }
}
