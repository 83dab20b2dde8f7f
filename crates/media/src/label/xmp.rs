//! The XMP packet.

/// IPTC's word for "made by a trained model".
pub(super) const SYNTHETIC: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

const OPEN: &str = "<medley:recipe>";
const CLOSE: &str = "</medley:recipe>";

/// The packet with the mark and, where a format has no other place for it, the recipe.
pub(super) fn packet(recipe: Option<&str>) -> Vec<u8> {
    let (namespace, property) = match recipe {
        Some(recipe) => (
            " xmlns:medley=\"urn:medley:recipe:1\"",
            format!("{OPEN}{}{CLOSE}", escape(recipe)),
        ),
        None => ("", String::new()),
    };
    format!(
        "<?xpacket begin=\"\u{FEFF}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" \
         xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"{namespace}>\
         <Iptc4xmpExt:DigitalSourceType>{SYNTHETIC}</Iptc4xmpExt:DigitalSourceType>\
         {property}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"w\"?>"
    )
    .into_bytes()
}

/// Whether the packet carries the mark, as an element or as an attribute.
pub(super) fn is_marked(packet: &[u8]) -> bool {
    let text = String::from_utf8_lossy(packet);
    text.contains("DigitalSourceType") && text.contains(SYNTHETIC)
}

/// The recipe in the packet.
pub(super) fn recipe(packet: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(packet).ok()?;
    let start = text.find(OPEN)? + OPEN.len();
    let length = text[start..].find(CLOSE)?;
    unescape(&text[start..start + length])
}

/// XML text; line ends as references, because XML readers change them.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            _ => out.push(letter),
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = at + rest[at..].find(';')?;
        out.push(match &rest[at + 1..end] {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            other => {
                let number = other.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_come_back_as_they_were() {
        for text in [
            "{\"prompt\": \"a < b & c > d\"}",
            "a\r\nb\n&amp;",
            "äö 🍎",
            "",
        ] {
            let packet = packet(Some(text));
            assert_eq!(recipe(&packet).as_deref(), Some(text));
            assert!(is_marked(&packet));
        }
        assert_eq!(recipe(&packet(None)), None);
    }

    #[test]
    fn references_are_read_and_wrong_ones_are_not() {
        assert_eq!(unescape("&#x41;&#66;&quot;").as_deref(), Some("AB\""));
        for wrong in ["&", "&nbsp;", "&#;", "&#x110000;"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }
}
