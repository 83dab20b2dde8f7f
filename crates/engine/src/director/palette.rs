//! Colours that go with a brief.

use super::plan::Palette;

/// A palette with the words that it goes with.
pub struct Swatch {
    /// What it goes with; compared with the brief by meaning.
    pub about: &'static str,
    /// Paper, ink, accent, soft.
    colours: [&'static str; 4],
}

/// Palettes: ink on paper and on soft has a contrast of 7 at least, white on accent 4.5.
pub const SWATCHES: [Swatch; 12] = [
    Swatch {
        about: "fire, flame, warmth, autumn, sunset, grill, spice, candle light",
        colours: ["#fff6ec", "#3b1d10", "#b8430f", "#ffdcb8"],
    },
    Swatch {
        about: "forest, garden, plants, nature, environment, hiking, organic food",
        colours: ["#f4f8ef", "#1c3324", "#2f6b3c", "#d5e8cc"],
    },
    Swatch {
        about: "sea, ocean, water, swimming, sailing, fish, beach, travel, rain",
        colours: ["#eff8fb", "#0f3040", "#0b6a8a", "#c5e6f0"],
    },
    Swatch {
        about: "coffee, café, bakery, bread, chocolate, wood, books, leather, cosy evenings",
        colours: ["#fbf5ee", "#38241a", "#8a4b24", "#ecd9c3"],
    },
    Swatch {
        about: "love, romance, berries, roses, wine, beauty, perfume, fashion, wedding",
        colours: ["#fff3f5", "#471425", "#b01e4f", "#ffd3dd"],
    },
    Swatch {
        about: "technology, software, app, computer, business, finance, learning, course, school",
        colours: ["#f2f6ff", "#16233f", "#2453c9", "#d3e0ff"],
    },
    Swatch {
        about: "space, stars, night, dream, sleep, magic, mystery, music, cinema",
        colours: ["#f5f2ff", "#231a45", "#5b35b5", "#ddd3ff"],
    },
    Swatch {
        about: "fruit, lemon, summer, sun, juice, sport, energy, bicycle, holiday",
        colours: ["#fffbe6", "#3a2f05", "#96650a", "#ffeb9c"],
    },
    Swatch {
        about: "health, medicine, doctor, clean, spa, calm, yoga, tea, fresh",
        colours: ["#effaf6", "#103a30", "#0b7560", "#c6ecdf"],
    },
    Swatch {
        about: "children, toys, games, party, sweets, birthday, playful fun, cartoon",
        colours: ["#fff4fd", "#3c1440", "#a3268f", "#ffd2f4"],
    },
    Swatch {
        about: "charity, help, donation, volunteers, animals, shelter, community, hope",
        colours: ["#fff5f1", "#40201a", "#b43a26", "#ffd9cd"],
    },
    Swatch {
        about: "machines, tools, cars, building, architecture, engineering, industry, security",
        colours: ["#f4f6f8", "#1e2830", "#3d5a70", "#d9e2ea"],
    },
];

impl Swatch {
    /// Its colours.
    pub fn palette(&self) -> Palette {
        let [paper, ink, accent, soft] = self.colours.map(str::to_owned);
        Palette {
            paper,
            ink,
            accent,
            soft,
        }
    }
}

/// Red, green and blue of `#rrggbb`.
pub fn rgb(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#')?;
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    Some([part(0)?, part(2)?, part(4)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2's relative luminance.
    fn luminance(colour: &str) -> f64 {
        let parts = rgb(colour).unwrap().map(|part| {
            let part = f64::from(part) / 255.0;
            match part <= 0.040_45 {
                true => part / 12.92,
                false => ((part + 0.055) / 1.055).powf(2.4),
            }
        });
        0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn letters_can_be_read_on_every_palette() {
        for swatch in &SWATCHES {
            let p = swatch.palette();
            assert!(contrast(&p.ink, &p.paper) >= 7.0, "{}", swatch.about);
            assert!(contrast(&p.ink, &p.soft) >= 7.0, "{}", swatch.about);
            assert!(contrast("#ffffff", &p.accent) >= 4.5, "{}", swatch.about);
            assert!(contrast(&p.accent, &p.paper) >= 4.5, "{}", swatch.about);
        }
    }
}
