//! Parses Server-Sent Events, independently of the encoder: as the HTML standard says, section
//! 9.2.6.

/// An event that a browser would dispatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Empty for an unnamed one.
    pub name: String,
    pub data: String,
    /// The last event id of the stream, as it stands with this event.
    pub last_id: String,
    /// Whether this event set it.
    pub has_id: bool,
}

/// What a stream came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stream {
    pub events: Vec<Event>,
    /// The last wait before reconnecting, in milliseconds.
    pub retry_ms: Option<u64>,
    pub comments: usize,
    /// Lines with fields that no reader knows.
    pub unknown: usize,
    /// Blank lines that ended no event: some clients dispatch an empty one.
    pub empty: usize,
}

/// Splits at CRLF, LF and CR.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        let width = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + width..];
    }
    // What no line end follows is not complete.
    lines
}

pub fn parse(bytes: &[u8]) -> Stream {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let mut stream = Stream::default();
    let mut event = Event::default();
    let (mut has_data, mut is_commented) = (false, false);
    for line in lines(text) {
        if line.is_empty() {
            if has_data {
                event.data.pop();
                stream.events.push(event.clone());
            } else if !is_commented {
                stream.empty += 1;
            }
            let last_id = event.last_id;
            event = Event {
                last_id,
                ..Event::default()
            };
            (has_data, is_commented) = (false, false);
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {
                stream.comments += 1;
                is_commented = true;
            }
            "data" => {
                event.data.push_str(value);
                event.data.push('\n');
                has_data = true;
            }
            "event" => value.clone_into(&mut event.name),
            "id" if !value.contains('\0') => {
                value.clone_into(&mut event.last_id);
                event.has_id = true;
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                stream.retry_ms = value.parse().ok();
            }
            _ => stream.unknown += 1,
        }
    }
    stream
}
