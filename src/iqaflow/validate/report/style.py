"""The look of the page: one style sheet, light and dark."""

CSS = """
:root{--paper:#fbfaf8;--card:#fff;--ink:#20242a;--quiet:#646b75;--line:#e3e1dc;--code:#f1efea;
--good:#1d7a46;--goodwash:#e8f4ec;--bad:#b3261e;--badwash:#fbebe9;
--train:#3b6fb6;--calibration:#d99a2b;--test:#7a5aa6;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--card:#1d2126;--ink:#e6e4df;--quiet:#9aa1ab;--line:#30353c;
--code:#282d34;--good:#63c58b;--goodwash:#183325;--bad:#f2867c;--badwash:#3a1e1c;
--train:#6d9fe0;--calibration:#e2b04f;--test:#a88bd3}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:21px;margin:44px 0 10px}
h3{font-size:16px;margin:0 0 6px}
p{margin:0 0 10px;max-width:75ch}
a{color:inherit}
code{background:var(--code);border-radius:4px;padding:1px 5px;overflow-wrap:anywhere;
font:13px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace}
.quiet,footer,figcaption,.id{color:var(--quiet);font-size:14px}
footer{margin-top:48px}

header{display:flex;gap:20px;align-items:center;border-radius:14px;padding:24px 28px}
header.good{background:var(--goodwash)}
header.bad{background:var(--badwash)}
header p{margin:0}
header .mark{flex:none;width:56px;height:56px;border-radius:50%;display:grid;place-items:center;font-size:28px;
color:var(--paper);background:var(--good)}
header.bad .mark{background:var(--bad)}
.kicker{color:var(--quiet);font-size:13px;text-transform:uppercase;letter-spacing:.08em}
.tiles{list-style:none;display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;
padding:0;margin:16px 0 0}
.tiles li,article,details,.charts figure{background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:14px 18px}
.tiles b{display:block;font-size:24px;font-variant-numeric:tabular-nums}
.tiles span{color:var(--quiet);font-size:14px}

table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--quiet);font-weight:500}
th,td{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
.wide{overflow-x:auto}
.numbers{width:auto;min-width:60%;font-variant-numeric:tabular-nums}
.numbers th,.numbers td{text-align:right;padding:6px 0 6px 32px;overflow-wrap:normal}
.numbers td{white-space:nowrap}
.numbers th:first-child,.numbers td:first-child{text-align:left;padding-left:0}
.wide+.wide{margin-top:18px}
.numbers th.words,.numbers td.words{text-align:left}
.failure{border-left:4px solid var(--bad);margin:0 0 14px}
.failure td:first-child{width:72px}
.failure td span.q,.failure td span.a{display:block;max-width:44ch}
.thumb,.nothumb{width:64px;height:64px;object-fit:cover;border-radius:6px;display:block}
.nothumb{display:grid;place-items:center;border:1px dashed var(--quiet);color:var(--quiet)}
.q{color:var(--quiet)}
p.q::before{content:"Q  ";font-weight:600}
p.a::before{content:"A  ";font-weight:600;color:var(--quiet)}

.key{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:7px}
.keys span{margin-right:18px;font-size:14px}
.key.train{background:var(--train)}
.key.calibration{background:var(--calibration)}
.key.test{background:var(--test)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:14px}
.charts figure{margin:0}
.charts figcaption{color:var(--ink);font-weight:600;margin-bottom:8px}
.chart{width:100%;height:auto;display:block}
.chart+.chart{margin-top:12px;border-top:1px solid var(--line);padding-top:10px}
.chart text{font-size:13px;fill:var(--ink)}
.chart .value{fill:var(--quiet);font-variant-numeric:tabular-nums}
.chart .train{fill:var(--train)}
.chart .calibration{fill:var(--calibration)}
.chart .test{fill:var(--test)}
.chart .axis{stroke:var(--line)}

details{margin-bottom:8px;padding:0}
summary{cursor:pointer;display:grid;grid-template-columns:200px 1fr auto;gap:16px;padding:11px 18px;font-size:14px;
list-style:none}
summary::-webkit-details-marker{display:none}
summary b::before{content:"›";display:inline-block;width:16px;color:var(--quiet)}
details[open] summary b::before{content:"⌄"}
summary span{color:var(--quiet)}
summary em{font-style:normal;white-space:nowrap;color:var(--good)}
summary em b::before{content:none!important}
.checks{margin:0 18px 10px;width:calc(100% - 36px)}
.checks td:first-child{width:26px}
.checks td:nth-child(3){width:26%}
.checks td:last-child{width:90px;text-align:right}
.hold td:first-child{color:var(--good)}
.broken,.broken td{color:var(--bad)}

.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(310px,1fr));grid-auto-flow:dense;gap:14px}
.example{display:flex;flex-direction:column;overflow-wrap:anywhere;font-size:15px}
.example p{margin-bottom:6px}
.example h3 span{color:var(--quiet);font-weight:400;font-size:14px}
.example.pair{grid-column:span 2}
.example .id{margin:auto 0 0;font-size:12px}
.pictures{display:flex;gap:12px;margin-bottom:10px}
.picture{margin:0;flex:1;min-width:0}
.picture svg{display:block;width:100%;max-height:300px;border-radius:8px;background:var(--code)}
.picture image{image-rendering:pixelated}
.picture figcaption{margin-top:4px}
.picture path{fill:none;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.picture .casing{stroke:#000;stroke-opacity:.55;stroke-width:4.5}
.picture .spoilt{stroke:#ffd23f;stroke-width:2.2}
.picture .asked{stroke:#fff;stroke-width:2;stroke-dasharray:5 4}
.line{display:inline-block;width:22px;height:0;vertical-align:middle;border-top:3px solid #e0ac00}
.line.asked{border-top:3px dashed var(--quiet)}

@media(max-width:700px){
summary{grid-template-columns:1fr;gap:2px}
.example.pair{grid-column:auto}
.charts{grid-template-columns:1fr}
.numbers th,.numbers td{padding-left:14px}
header{flex-direction:column;align-items:flex-start}
}
"""
