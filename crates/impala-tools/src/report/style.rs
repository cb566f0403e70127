//! Colours and fonts, used by the page and by each SVG that stands alone.

/// Colours of series and stages: eight that are told apart in light and dark.
pub(super) const COLOURS: usize = 8;
/// The grey of what is left.
pub(super) const REST: usize = COLOURS;

/// Style of plots. Classes: `s0`..`s7` strokes, `f0`..`f8` fills.
pub(super) const PLOTS: &str = "
svg.plot{--ink:#1f2933;--soft:#66727f;--grid:#e3e7eb;--paper:#ffffff;
--c0:#2563eb;--c1:#d9480f;--c2:#0f8a5f;--c3:#9333ea;--c4:#b8860b;--c5:#0e7c9b;--c6:#c2255c;--c7:#7a5c45;--c8:#c3cbd3;
font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;background:var(--paper)}
@media (prefers-color-scheme:dark){svg.plot{--ink:#e4e7eb;--soft:#9aa5b1;--grid:#323f4b;--paper:#1b2229;
--c0:#6ea8fe;--c1:#ff8a4c;--c2:#4cc38a;--c3:#c792ea;--c4:#e6b94d;--c5:#5cc8e0;--c6:#f783ac;--c7:#b89a80;--c8:#46525e}}
svg.plot text{fill:var(--soft)}svg.plot .title{fill:var(--ink);font-size:14px;font-weight:600}
svg.plot .legend{fill:var(--ink)}svg.plot .value{fill:var(--paper);font-size:11px}
svg.plot .grid{stroke:var(--grid);stroke-width:1}svg.plot .axis{stroke:var(--soft);stroke-width:1}
svg.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
svg.plot .thin{fill:none;stroke-width:1}
svg.plot .faint{fill:none;stroke-width:1;opacity:.35}svg.plot .band{opacity:.16}
svg.plot .s0{stroke:var(--c0)}svg.plot .s1{stroke:var(--c1)}svg.plot .s2{stroke:var(--c2)}
svg.plot .s3{stroke:var(--c3)}svg.plot .s4{stroke:var(--c4)}svg.plot .s5{stroke:var(--c5)}
svg.plot .s6{stroke:var(--c6)}svg.plot .s7{stroke:var(--c7)}
svg.plot .f0{fill:var(--c0)}svg.plot .f1{fill:var(--c1)}svg.plot .f2{fill:var(--c2)}
svg.plot .f3{fill:var(--c3)}svg.plot .f4{fill:var(--c4)}svg.plot .f5{fill:var(--c5)}
svg.plot .f6{fill:var(--c6)}svg.plot .f7{fill:var(--c7)}svg.plot .f8{fill:var(--c8)}
";

/// Style of the page around them.
pub(super) const PAGE: &str = "
:root{color-scheme:light dark;--ink:#1f2933;--soft:#66727f;--line:#e3e7eb;--paper:#fff;--ground:#f5f7f9;--mark:#2563eb}
@media (prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#9aa5b1;--line:#323f4b;--paper:#1b2229;--ground:#12171c;--mark:#6ea8fe}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 60px}h1{font-size:24px;margin:0 0 2px}h2{font-size:18px;margin:34px 0 10px}
p{margin:0 0 8px}.soft{color:var(--soft)}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:14px}
.card{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:10px;min-width:0}
.card svg{display:block;width:100%;height:auto}.say{border-left:4px solid var(--mark);padding:14px 18px;margin:0 0 12px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}th,td{padding:4px 14px 4px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;white-space:nowrap}td.n{text-align:right}.facts{display:flex;flex-wrap:wrap;gap:10px 34px;margin:14px 0 20px}
.facts div{min-width:90px}.facts b{display:block;font-size:20px;font-weight:650;font-variant-numeric:tabular-nums}
.columns{columns:2 420px;column-gap:40px}.columns table{width:100%;break-inside:auto}
@media print{body{background:#fff}.card{break-inside:avoid}}
";
