// Asks the server each second for what changed, and puts it in its place. The HTML of a block is drawn by the server, which
// escapes every text of a run.
'use strict';

const said = document.getElementById('said');
const place = document.getElementById('live');
const known = new Map();
let server = '';
let version = 0;
let looks = 0;

function element(id, make) {
  if (!known.has(id)) known.set(id, make());
  return known.get(id);
}

function block(id) {
  return element('block ' + id, () => {
    const made = document.createElement('div');
    made.className = 'block';
    return made;
  });
}

function section({ title, is_grid, blocks }, at) {
  const made = element('section ' + at, () => document.createElement('section'));
  const heading = element('heading ' + at, () => document.createElement('h2'));
  const body = element('body ' + at, () => document.createElement('div'));
  heading.textContent = title ?? '';
  heading.hidden = title === null;
  body.className = is_grid ? 'grid' : '';
  arrange(body, blocks.map(block));
  arrange(made, [heading, body]);
  return made;
}

// Leaves alone what is where it belongs, so that nothing that is read or scrolled jumps.
function arrange(parent, children) {
  const same = parent.children.length === children.length &&
    children.every((child, at) => parent.children[at] === child);
  if (!same) parent.replaceChildren(...children);
}

function show(answer) {
  const { sections, changed } = answer;
  for (const id of Object.keys(changed)) block(id).innerHTML = changed[id];
  arrange(place, sections.map(section));
  ({ server, version } = answer);
  looks += 1;
  place.dataset.looks = looks;
  const running = answer.runs.filter((run) => run.running).length;
  said.textContent = `Live: ${running} of ${answer.runs.length} running, looked at ${new Date().toLocaleTimeString()}.`;
}

async function look() {
  try {
    const query = `server=${encodeURIComponent(server)}&since=${version}`;
    const answer = await fetch('live.json?' + query, { cache: 'no-store', signal: AbortSignal.timeout(15000) });
    if (!answer.ok) throw new Error(`it says ${answer.status}`);
    show(await answer.json());
    document.body.classList.remove('lost');
  } catch (error) {
    document.body.classList.add('lost');
    said.textContent = `The server does not answer (${error.message}). Has impala-report been ended? Trying again.`;
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}

document.addEventListener('visibilitychange', () => document.hidden || (said.textContent = 'Looking.'));
look();
