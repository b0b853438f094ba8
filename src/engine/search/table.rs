//! The table of a search: a line a trial and rung, from which it goes on.

use std::path::Path;

use super::{Space, Varied};
use crate::error::{Error, Result};
use crate::model::options::Value;

/// Stands for a value that there is not.
const MISSING: &str = "NA";
const COLUMNS: [&str; 8] = ["trial", "rung", "epochs", "score", "best_epoch", "parameters", "seconds", "status"];

/// How a trial ended on a rung.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// Its run is over.
    Done,
    /// It can go on.
    Paused,
    /// It cannot, and why.
    Failed(String),
}

/// What came of a trial on a rung.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number, from 0.
    pub trial: usize,
    /// Rung, from 0.
    pub rung: usize,
    /// Epochs that ran, from the beginning.
    pub epochs: Option<usize>,
    /// Its best score in an epoch that trained, small is good; none if it failed.
    pub score: Option<f64>,
    /// Epoch that the score is from.
    pub best_epoch: Option<usize>,
    /// Numbers to train.
    pub parameters: Option<usize>,
    /// Time that this rung took.
    pub seconds: f64,
    /// How it ended.
    pub status: Status,
}

impl Row {
    /// A trial that did not come to train.
    pub fn failed(trial: usize, rung: usize, why: String) -> Self {
        let status = Status::Failed(why);
        Self { trial, rung, epochs: None, score: None, best_epoch: None, parameters: None, seconds: 0.0, status }
    }
}

/// The table as tab-separated text, a column a varied option behind the others. `trials` holds the values of every trial.
pub fn text(space: &Space, trials: &[Vec<Option<Value>>], rows: &[Row]) -> String {
    let mut text = header(space.varied()).join("\t") + "\n";
    for row in rows {
        let number = |n: Option<usize>| n.map_or(MISSING.into(), |n| n.to_string());
        let status = match &row.status {
            Status::Done => "done".into(),
            Status::Paused => "paused".into(),
            Status::Failed(why) => format!("failed: {}", why.split_whitespace().collect::<Vec<_>>().join(" ")),
        };
        let mut cells = vec![
            row.trial.to_string(),
            row.rung.to_string(),
            number(row.epochs),
            row.score.map_or(MISSING.into(), |s| s.to_string()),
            number(row.best_epoch),
            number(row.parameters),
            format!("{:.3}", row.seconds),
            status,
        ];
        cells.extend(values(&trials[row.trial]));
        text.push_str(&(cells.join("\t") + "\n"));
    }
    text
}

/// Reads what [`text`] wrote for the same space, trials and number of rungs.
///
/// # Errors
/// [`Error::Parse`] naming line and column, also for a trial with other values than `trials` has.
pub fn parse(text: &str, path: &Path, space: &Space, trials: &[Vec<Option<Value>>], rungs: usize) -> Result<Vec<Row>> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.split('\t').collect::<Vec<_>>()));
    let expected = header(space.varied());
    let found = lines.next().map(|(_, cells)| cells).unwrap_or_default();
    if found != expected {
        return Err(Error::line(
            path,
            1,
            format!("expected the columns {}; found {}", expected.join(" "), found.join(" ")),
        ));
    }
    let mut rows = vec![];
    for (line, cells) in lines {
        if cells.len() != expected.len() {
            let what =
                format!("expected {} columns, found {}; delete the line to run it again", expected.len(), cells.len());
            return Err(Error::line(path, line, what));
        }
        let wrong = |i: usize, what: &str| {
            Error::line(path, line, format!("column {}: expected {what}, found '{}'", expected[i], cells[i]))
        };
        let count = |i: usize| -> Result<usize> { cells[i].parse().map_err(|_| wrong(i, "a whole number")) };
        let maybe = |i: usize| if cells[i] == MISSING { Ok(None) } else { count(i).map(Some) };
        let number = |i: usize| -> Result<f64> { cells[i].parse().map_err(|_| wrong(i, "a number")) };
        let trial = count(0)?;
        let Some(drawn) = trials.get(trial) else {
            return Err(wrong(0, &format!("one of the {} trials", trials.len())));
        };
        if let Some(i) = values(drawn).iter().zip(&cells[COLUMNS.len()..]).position(|(a, b)| a != b) {
            return Err(wrong(COLUMNS.len() + i, &format!("what the seed draws, {}", values(drawn)[i])));
        }
        let rung = count(1)?;
        if rung >= rungs {
            return Err(wrong(1, &format!("one of the {rungs} rungs, from 0")));
        }
        rows.push(Row {
            trial,
            rung,
            epochs: maybe(2)?,
            score: if cells[3] == MISSING { None } else { Some(number(3)?).filter(|s| !s.is_nan()) },
            best_epoch: maybe(4)?,
            parameters: maybe(5)?,
            seconds: number(6)?,
            status: match cells[7] {
                "done" => Status::Done,
                "paused" => Status::Paused,
                other => match other.strip_prefix("failed: ") {
                    Some(why) => Status::Failed(why.into()),
                    None => return Err(wrong(7, "done, paused or failed: why")),
                },
            },
        });
    }
    Ok(rows)
}

fn header(varied: &[Varied]) -> Vec<&'static str> {
    COLUMNS.into_iter().chain(varied.iter().map(|v| v.key)).collect()
}

/// Values of a trial as text without tabs.
fn values(trial: &[Option<Value>]) -> Vec<String> {
    let cell =
        |v: &Option<Value>| v.as_ref().map_or(MISSING.into(), |v| v.to_string().replace(['\t', '\n', '\r'], " "));
    trial.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::Options;

    #[test]
    fn tables_are_read_back() {
        let mut space = Space::default();
        space.add_text("lr=log:1e-5..1e-2").unwrap();
        space.add_text("dilations=[1,2],[2,4]").unwrap();
        let trials = space.trials(&Options::new(), 1, 3);
        let done = Row {
            trial: 1,
            rung: 0,
            epochs: Some(7),
            score: Some(0.1 + 0.2),
            best_epoch: Some(3),
            parameters: Some(1234),
            seconds: 1.5,
            status: Status::Done,
        };
        let failed = Row::failed(0, 0, "no\tmemory\nleft".into());
        let table =
            text(&space, &trials, &[failed, done.clone(), Row { rung: 1, status: Status::Paused, ..done.clone() }]);
        let path = Path::new("trials.tsv");
        let rows = parse(&table, path, &space, &trials, 3).unwrap();
        assert_eq!((rows.len(), &rows[1]), (3, &done));
        assert_eq!(rows[0].status, Status::Failed("no memory left".into()));
        assert_eq!(text(&space, &trials, &rows), table);

        let refused = |from: &str, to: &str| {
            assert!(table.contains(from), "{table}");
            parse(&table.replacen(from, to, 1), path, &space, &trials, 3).unwrap_err().to_string()
        };
        assert!(refused("\trung", "\trang").contains("trials.tsv:1"));
        assert!(refused("1\t0\t7\t", "9\t0\t7\t").contains("trials.tsv:3: column trial: expected one of the 3 trials"));
        assert!(refused("1\t0\t7\t", "1\t0\tx\t").contains("column epochs: expected a whole number, found 'x'"));
        assert!(refused("\tdone\t", "\tdome\t").contains("column status"));
        assert!(refused("\tpaused\t", "\t").contains("trials.tsv:4: expected 10 columns, found 9"));
        let drawn = values(&trials[0])[0].clone();
        let message = refused(&drawn, "[7, 7]");
        assert!(message.contains("what the seed draws") || message.contains("column"), "{message}");
    }
}
