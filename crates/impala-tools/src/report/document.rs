//! The HTML document around the content of a page; it loads no other file.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::style::{PAGE, PLOTS};

/// A document with this title and, below it, this content.
#[must_use]
pub fn document(title: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (title) " - impala" }
                style { (PreEscaped(PAGE)) (PreEscaped(PLOTS)) }
            }
            body {
                main {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    page.into_string()
}
