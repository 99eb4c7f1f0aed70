//! Owns the ways of Java that clients, files and tools can see: hash codes and the order of hash maps, trimming,
//! splitting, numbers as text. Pure.

/// Puts entries in the order in which a `java.util.HashMap` with their names as keys is walked, which is how Kafka's tools
/// print some lists. `entries` is in the order of insertion, `initial_capacity` what the map was made with (0: the default).
pub fn hash_order<T>(entries: &mut [T], initial_capacity: usize, name: impl Fn(&T) -> &str) {
    bucket_order(entries, initial_capacity, |entry| hash_code(name(entry)));
}

/// As [`hash_order`], with topic partitions as keys.
pub fn partition_order<T>(entries: &mut [T], initial_capacity: usize, partition: impl Fn(&T) -> (&str, i32)) {
    bucket_order(entries, initial_capacity, |entry| {
        let (topic, id) = partition(entry);
        partition_hash(topic, id)
    });
}

/// As [`hash_order`], for Scala's mutable sets and maps, given `hashCode` of the keys: they grow one entry earlier, and
/// what shares a bucket is in the order of its hash.
pub fn scala_order<T>(entries: &mut [T], hash_code: impl Fn(&T) -> u32) {
    let mut buckets = 16;
    while entries.len() * 4 >= buckets * 3 {
        buckets *= 2;
    }
    entries.sort_by_key(|entry| {
        let hash = hash_code(entry);
        let spread = hash ^ (hash >> 16);
        (spread as usize & (buckets - 1), spread.cast_signed())
    });
}

/// As [`hash_order`], with whole numbers as keys.
pub fn int_order(entries: &mut [i32]) {
    bucket_order(entries, 0, |entry| entry.cast_unsigned());
}

/// As [`hash_order`], with long numbers as keys.
pub fn long_order(entries: &mut [i64]) {
    bucket_order(entries, 0, |entry| (entry ^ (entry >> 32)) as u32);
}

/// `TopicPartition.hashCode`.
pub fn partition_hash(topic: &str, partition: i32) -> u32 {
    (31 + partition.cast_unsigned()).wrapping_mul(31).wrapping_add(hash_code(topic))
}

/// `String.hashCode`.
pub fn hash_code(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash, c| hash.wrapping_mul(31).wrapping_add(u32::from(c)))
}

fn bucket_order<T>(entries: &mut [T], initial_capacity: usize, hash: impl Fn(&T) -> u32) {
    let mut buckets = if initial_capacity == 0 { 16 } else { initial_capacity.next_power_of_two() };
    while entries.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    entries.sort_by_key(|entry| {
        let hash = hash(entry);
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
}

/// Java's `\s` of a regular expression.
pub fn trim_regex_space(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r'])
}

/// Java's `String.trim`: every character up to the space goes.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Java's `Double.parseDouble` for decimal forms: `1`, `.5`, `1e9`, `2.0d`, `NaN`, `Infinity`. The hexadecimal form of
/// Java's grammar is refused.
pub fn double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return text.parse().ok();
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let decimal = digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if decimal { digits.parse().ok() } else { None }
}

/// Java's `Double.toString`: at least one digit after the point, and scientific outside 10^-3 to 10^7.
pub fn double_text(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if v == 0.0 || (1e-3..1e7).contains(&v.abs()) {
        return format!("{v:?}");
    }
    let scientific = format!("{v:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

/// Java's `String.split(",")`: empty elements at the end vanish, and the empty text is one empty element.
pub fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = text.split(',').map(str::to_owned).collect();
    while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_the_order_of_a_java_hash_map() {
        // As an Apache tool printed them: the settings of __consumer_offsets, and the topics of a cluster.
        let mut topics = ["__consumer_offsets", "p1", "p2", "t1"];
        hash_order(&mut topics, 4, |t| t);
        assert_eq!(topics, ["p1", "p2", "t1", "__consumer_offsets"]);
    }

    #[test]
    fn whole_numbers_come_in_the_order_of_a_java_hash_map_that_grows() {
        // Keys of one bucket stay in the order of their arrival.
        let mut ids = vec![1, 2, 16, 17, 65_536 + 3, 1 << 32];
        long_order(&mut ids);
        assert_eq!(ids, [16, 1, 17, 1 << 32, 2, 65_539]);
        let mut grown: Vec<i64> = (1..13).chain([16]).collect();
        long_order(&mut grown);
        assert_eq!(grown.last(), Some(&16), "32 buckets for 13 entries");
    }

    #[test]
    fn texts_have_the_hash_codes_of_java() {
        assert_eq!(["", "g1", "gr\u{fc}\u{df}e"].map(hash_code), [0, 3242, 98_768_023]);
        assert_eq!(hash_code("polygenelubricants").cast_signed(), i32::MIN);
    }

    #[test]
    fn texts_are_trimmed_and_split_as_by_java() {
        assert_eq!(trim("\u{1} a\u{a0} "), "a\u{a0}");
        assert_eq!(trim_regex_space("\u{1} a\t"), "\u{1} a");
        assert_eq!(
            (split(""), split(",a,,b,,")),
            (vec![String::new()], ["", "a", "", "b"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn doubles_are_read_and_written_as_by_java() {
        assert_eq!(
            ["1", ".5", "2.0d", "-1e9", "0x1p3", ""].map(double),
            [Some(1.0), Some(0.5), Some(2.0), Some(-1e9), None, None]
        );
        assert_eq!([0.5, 1e7, 1.5e-4, -0.0].map(double_text), ["0.5", "1.0E7", "1.5E-4", "-0.0"]);
        assert_eq!(double_text(f64::NEG_INFINITY), "-Infinity");
    }
}
