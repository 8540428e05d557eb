//! The table of what was measured.

/// One line of the table.
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub measured: f64,
    /// What a bare client needed for the same.
    pub bare: Option<f64>,
    pub aim: Aim,
}

/// What a figure shall be.
#[derive(Clone, Copy)]
pub enum Aim {
    AtMost(f64),
    /// At most so many times what the bare client needed.
    TimesBare(f64),
    /// It is shown and not judged.
    None,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: &'static str, measured: f64, aim: Aim) -> Self {
        Figure { name: name.into(), unit, measured, bare: None, aim }
    }

    /// The same figure beside that of a bare client.
    pub fn beside(self, bare: f64) -> Self {
        Figure { bare: Some(bare), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.bare.map(|bare| self.measured / bare)
    }

    fn verdict(&self) -> &'static str {
        let is_met = match self.aim {
            Aim::AtMost(most) => self.measured <= most,
            Aim::TimesBare(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Aim::None => return "",
        };
        if is_met { "met" } else { "missed" }
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: f64| format!("{value:.2}{}", self.unit);
        let aim = match self.aim {
            Aim::AtMost(most) => format!("≤ {most}{}", self.unit),
            Aim::TimesBare(most) => format!("≤ {most} × bare"),
            Aim::None => String::new(),
        };
        let bare = self.bare.map(number).unwrap_or_default();
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        [self.name.clone(), aim, number(self.measured), bare, ratio, self.verdict().to_owned()]
    }
}

/// Writes the figures as a table of Markdown.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "aim", "measured", "bare", "ratio", ""].map(str::to_owned)];
    rows.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    rows.insert(1, widths.map(|width| "-".repeat(width.max(1))));
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
