use std::fmt::Write;

use super::erased::{Definition, StepDef};
use crate::contract::Kind;

impl Definition {
    /// The saga as a [Mermaid](https://mermaid.js.org) flowchart, which GitHub and many wikis show as a picture.
    ///
    /// A pivot is a hexagon, a retriable step a rounded box, a step without undo a slanted one.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "    begin([\"{} v{}\"])", self.id.name, self.id.version);
        for (at, step) in self.steps.iter().enumerate() {
            let (open, close) = match step.kind {
                Kind::Compensatable => ("[", "]"),
                Kind::Pivot => ("{{", "}}"),
                Kind::Retriable => ("(", ")"),
                Kind::NoUndo => ("[/", "/]"),
            };
            let _ = writeln!(text, "    s{at}{open}\"{}\"{close}", label(step, "<br/>"));
        }
        text.push_str("    done([\"completed\"])\n");
        for (from, to) in self.edges() {
            let _ = writeln!(text, "    {from} --> {to}");
        }
        text
    }

    /// The saga as a [Graphviz](https://graphviz.org) graph: `dot -Tsvg`.
    ///
    /// A pivot is a hexagon, a retriable step a rounded box, a step without undo a slanted one.
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n    rankdir=LR;\n", self.id.name);
        let _ = writeln!(text, "    begin [label=\"{} v{}\", shape=oval];", self.id.name, self.id.version);
        for (at, step) in self.steps.iter().enumerate() {
            let shape = match step.kind {
                Kind::Compensatable => "shape=box",
                Kind::Pivot => "shape=hexagon",
                Kind::Retriable => "shape=box, style=rounded",
                Kind::NoUndo => "shape=parallelogram",
            };
            let _ = writeln!(text, "    s{at} [label=\"{}\", {shape}];", label(step, "\\n"));
        }
        text.push_str("    done [label=\"completed\", shape=oval];\n");
        for (from, to) in self.edges() {
            let _ = writeln!(text, "    {from} -> {to};");
        }
        text.push_str("}\n");
        text
    }

    /// From the beginning, through the steps, to the end.
    fn edges(&self) -> Vec<(String, String)> {
        let mut edges = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            if step.after.is_empty() {
                edges.push(("begin".to_owned(), format!("s{at}")));
            }
            edges.extend(step.after.iter().map(|earlier| (format!("s{}", earlier.at()), format!("s{at}"))));
            if step.dependents.is_empty() {
                edges.push((format!("s{at}"), "done".to_owned()));
            }
        }
        edges
    }
}

/// The step's name, and its kind unless it is the usual one. Names have no character that either language would mistake.
fn label(step: &StepDef, line_break: &str) -> String {
    match step.kind {
        Kind::Compensatable => step.name.to_string(),
        kind => format!("{}{line_break}{kind}", step.name),
    }
}
