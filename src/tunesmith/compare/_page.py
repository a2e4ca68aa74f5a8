"""What is the same in every HTML report: the frame of the page, its style, and the script that draws."""

#: The page; ``$name`` stands for a part of it. plotly's JavaScript, in which dollars are common, comes in later.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header><h1>$title</h1><p class="subtitle">$subtitle</p><p class="verdict">$verdict</p></header>
<section>$table_one</section>
$curves
$finals
<section><h2>Which differences are real?</h2>$table_tests</section>
$samples
<section><h2>Best configuration</h2>$best</section>
$table_two
$stopping
$configuration
<noscript><p class="lead">The pictures need JavaScript; the tables do not.</p></noscript>
</main>
<script type="application/json" id="figures">$data</script>
<!--PLOTLY-->
<script>$page_script</script>
</body>
</html>
"""

#: In light and dark, on screens of any width and on paper.
STYLE = """
:root{color-scheme:light dark;--ink:#1c2128;--soft:#59636e;--line:#d8dee4;--ground:#fff;--tint:#f5f7f9;--best:#0a6b3d}
@media (prefers-color-scheme:dark){:root{--ink:#e3e7eb;--soft:#9aa4af;--line:#39424c;--ground:#14181d;
  --tint:#1d232a;--best:#56c98d}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:0 0 .4rem}
section{margin-top:2.6rem}
.subtitle,.lead{color:var(--soft);margin:0 0 .8rem;max-width:75ch}
.verdict{font-size:1.05rem;border-left:4px solid var(--best);padding:.4rem .9rem;background:var(--tint);
  max-width:80ch;overflow-wrap:anywhere}
figure.table{margin:0 0 1.6rem}
figcaption{font-weight:600;margin-bottom:.4rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.34rem .8rem;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{border-bottom:2px solid var(--line);color:var(--soft);font-weight:600}
th.left,td.left{text-align:left}th.right,td.right{text-align:right}
tbody tr:hover{background:var(--tint)}
td.best{font-weight:700;color:var(--best)}
td.right:has(.star){padding-right:0}.star{display:inline-block;width:.8rem;font-size:.75em}
.notes{color:var(--soft);font-size:.86rem;margin:.6rem 0 0;padding-left:1.1rem;max-width:90ch}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}
.plot{min-width:0;min-height:320px}
.choice{color:var(--soft);font-size:.9rem}
select{font:inherit;color:inherit;background:var(--tint);border:1px solid var(--line);border-radius:4px;
  padding:.1rem .4rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--soft)}details .table{margin-top:.8rem}
table.plain th{text-align:left;font-weight:500;color:var(--soft);vertical-align:top}
table.plain td{white-space:normal}
pre{margin:0;font:.88rem/1.4 ui-monospace,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere}
@media print{main{max-width:none}.choice{display:none}}
"""

#: Draws the figures in the colours of the style, and changes the repeat that is shown.
SCRIPT = """
(function () {
  var figures = JSON.parse(document.getElementById("figures").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function themed(layout) {
    var css = getComputedStyle(document.documentElement);
    var ink = css.getPropertyValue("--ink").trim(), line = css.getPropertyValue("--line").trim();
    var copy = JSON.parse(JSON.stringify(layout));
    copy.font = Object.assign({family: getComputedStyle(document.body).fontFamily}, copy.font, {color: ink});
    copy.hoverlabel = {bgcolor: css.getPropertyValue("--tint").trim(), bordercolor: line, font: {color: ink}};
    Object.keys(copy).forEach(function (key) {
      if (/^[xy]axis/.test(key)) {
        copy[key].gridcolor = line; copy[key].linecolor = line; copy[key].tickcolor = line;
      }
    });
    return copy;
  }
  function draw(element) {
    var figure = figures[element.dataset.figure];
    Plotly.react(element, figure.data, themed(figure.layout), {responsive: true, displayModeBar: false});
  }
  function drawAll() { document.querySelectorAll(".plot").forEach(draw); }
  drawAll();
  dark.addEventListener("change", drawAll);
  document.querySelectorAll("select[data-target]").forEach(function (select) {
    select.addEventListener("change", function () {
      var element = document.getElementById(select.dataset.target);
      element.dataset.figure = select.value;
      draw(element);
    });
  });
})();
"""
