// Gradio takes its first loading sign off the page while the clock in it runs, and that clock then asks for a frame sixty
// times a second for as long as the page is open: a tenth of a core for nothing that anybody sees. Here such a clock
// ticks once a second. Gradio keeps the function that it finds when its module is read, so this has to run before. It
// knows such a clock by what it computes, and nothing else of Gradio.
(() => {
  const frame = window.requestAnimationFrame.bind(window);
  const clock = /^\(\) ?=> ?\{[^;]{0,40}performance\.now\(\)[^;]{0,40}\/ ?(1e3|1000)/;
  window.requestAnimationFrame = (draw) => (clock.test(draw) ? setTimeout(() => frame(draw), 1000) : frame(draw));
})();
