"""The report's style sheet: light and dark by the reader's setting, colours that colour-blind readers can tell apart
(after Okabe and Ito), shapes that tell the series apart without colour."""

CSS = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2430;--quiet:#5d6b7a;--line:#e2e6eb;--axis:#aab4bf;
--model:#0068b5;--soft:#cfe3f5;--base:#d55e00;--other:#8a96a3;--yard:#7a5195;--heat:0,104,181;--wrong:213,94,0;
--good:#00795c;--bad:#b3400b;--onheat:#fff}
@media (prefers-color-scheme:dark){:root{--page:#10151b;--card:#182029;--ink:#e6ebf0;--quiet:#98a6b4;--line:#2a3541;
--axis:#51606f;--model:#5fb3f3;--soft:#1d3f5c;--base:#ff9a4d;--other:#8b98a6;--yard:#c39be0;--heat:95,179,243;
--wrong:255,154,77;--good:#3fc79d;--bad:#ff9a6b;--onheat:#0c1217}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:15px;font-weight:600;letter-spacing:.02em;color:var(--quiet);margin:0 0 10px}
.lead{font-size:22px;line-height:1.42;font-weight:600;margin:0 0 24px;max-width:42em;letter-spacing:-.01em}
.lead b{color:var(--model);font-weight:700}.lead span{color:var(--quiet);font-weight:400}
h2{font-size:19px;margin:0 0 4px;letter-spacing:-.005em}
h3{font-size:15px;margin:18px 0 6px}
p{margin:6px 0 14px;max-width:64em}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin:18px 0}
.quiet,figcaption .quiet{color:var(--quiet)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:12px;margin:0 0 4px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tile .value{font-size:30px;font-weight:700;letter-spacing:-.02em;line-height:1.15;font-variant-numeric:tabular-nums}
.tile .name{font-size:13px;font-weight:600;line-height:1.35;min-height:2.7em}
.tile .note{font-size:12.5px;color:var(--quiet);line-height:1.4}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--quiet);text-align:left;font-size:12.5px}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:middle}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
td.big{font-weight:700;font-size:15px}
td svg{display:block;max-width:none}
td.rival{white-space:nowrap}
.better{color:var(--good);font-weight:600}.worse{color:var(--bad);font-weight:600}.level{color:var(--quiet)}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(400px,1fr));gap:26px;align-items:start}
.columns>div{min-width:0}
svg{max-width:100%;height:auto}.wide{display:flex;flex-wrap:wrap;gap:26px;align-items:flex-start}
.wide>div{min-width:0}.wide>.side{flex:1 1 220px;font-size:13.5px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));gap:18px 14px}
figure{margin:0}
figure img,figure svg{width:100%;height:auto;display:block;border-radius:6px;background:var(--line)}
figcaption{font-size:12.5px;line-height:1.4;margin-top:6px;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;font-size:13px;color:var(--quiet);margin:4px 0 12px}
.legend span{display:inline-flex;align-items:center;gap:6px}
.legend svg{width:20px;height:16px;flex:none}
details summary{cursor:pointer;font-weight:600;margin:6px 0}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
ul{margin:6px 0;padding-left:20px;max-width:64em}li{margin:3px 0}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
svg text.quiet{fill:var(--quiet)}svg text.onheat{fill:var(--onheat)}
.axis{stroke:var(--axis);stroke-width:1}.grid{stroke:var(--line);stroke-width:1}
.diagonal{stroke:var(--axis);stroke-width:1;stroke-dasharray:4 4}
circle.model,rect.model,path.model{fill:var(--model)}
path.base{fill:var(--base);stroke:var(--card);stroke-width:1}
path.yard{fill:none;stroke:var(--yard);stroke-width:1.6}
circle.other{fill:var(--card);stroke:var(--other);stroke-width:1.4}
.span{stroke-width:5;stroke-linecap:round;opacity:.42}.span.thin{stroke-width:2;opacity:.6}
line.span.model{stroke:var(--model)}line.span.base{stroke:var(--base)}
rect.model.soft{fill:var(--soft)}circle.model.soft{fill:var(--model);opacity:.2}
.cell{fill:var(--page)}.heat{fill:rgb(var(--heat))}.heat.wrong{fill:rgb(var(--wrong))}
.dots circle{fill:var(--model);fill-opacity:.34}
figure path,figure circle{fill:none;stroke-linejoin:round}
figure .truth{stroke:#ffd000;stroke-width:1.3}
figure .guess{fill:#0072b2;fill-opacity:.38;stroke:#8fd0ff;stroke-width:.9;stroke-dasharray:2.4 1.6}
figure .halo{stroke:#000;stroke-opacity:.55;stroke-width:2.6}
figure .point{stroke:#fff;stroke-width:1.6;fill:#d55e00}
@media (max-width:700px){main{padding:22px 12px}.lead{font-size:19px}section{padding:16px}
.columns{grid-template-columns:1fr}}
@media print{section{break-inside:avoid}}
"""
