for (const box of document.querySelectorAll('[data-case]')) {
  const frames = [...box.querySelectorAll('[data-frame]')], slider = box.querySelector('input'),
    button = box.querySelector('button'), says = box.querySelector('output');
  let timer = null;
  const show = i => { slider.value = i; frames.forEach((frame, k) => frame.hidden = k != i);
    says.textContent = frames[i].dataset.frame; };
  const stop = () => { clearInterval(timer); timer = null; button.textContent = 'Play'; };
  slider.oninput = () => { stop(); show(+slider.value); };
  button.onclick = () => { if (timer) return stop(); button.textContent = 'Pause';
    timer = setInterval(() => show((+slider.value + 1) % frames.length), 900); };
  show(0);
}
