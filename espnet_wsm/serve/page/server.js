// What the page asks of the server.

export class Refusal extends Error {
  constructor(sentence, status, retryAfter) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const is_local = () => ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

function read_sentence(body, status) {
  try {
    return JSON.parse(body).error ?? `The server answered ${status}.`;
  } catch {
    return `The server answered ${status}.`;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer: it may have been stopped.", 0);
  }
  if (!answer.ok) throw new Refusal(read_sentence(await answer.text(), answer.status), answer.status);
  return answer;
}

export const read_settings = async () => (await ask("api/settings")).json();

// Sends a form and tells how much has gone, which fetch does not.
function send(path, form, on_progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.upload.onprogress = (event) => event.lengthComputable && on_progress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) return resolve(JSON.parse(request.responseText));
      const wait = Number(request.getResponseHeader("Retry-After")) || 0;
      reject(new Refusal(read_sentence(request.responseText, request.status), request.status, wait));
    };
    request.onerror = () => reject(new Refusal("The recording could not be sent: the server may have been stopped.", 0));
    request.send(form);
  });
}

// Recordings are sent one after the other, so that hundreds can be dropped; where the queue is full, later.
let sending = Promise.resolve();

export function send_recording(file, tell, is_wanted) {
  const form = new FormData();
  form.append("audio", file, file.name);
  const turn = sending.then(async () => {
    while (is_wanted()) {
      try {
        return await send("api/jobs", form, (share) => tell("Sending", share));
      } catch (error) {
        if (error.status !== 503) throw error;
        tell("Waiting for a place in the queue");
        await pause(error.retryAfter || 5);
      }
    }
    return null;
  });
  sending = turn.catch(() => null);
  return turn;
}

// News of all jobs come over one connection: a browser keeps six to a server.
const followed = new Map();
let current = null;

export function follow(id, on_news) {
  followed.set(id, on_news);
  if (current) current.abort();
  else listen();
}

async function listen() {
  let seen = "";
  let failures = 0;
  while (followed.size) {
    current = new AbortController();
    const ids = [...followed.keys()].join(",");
    try {
      const answer = await ask(`api/jobs?ids=${ids}&seen=${seen}`, { signal: current.signal });
      const news = await answer.json();
      failures = 0;
      seen = news.tag;
      for (const job of news.jobs) {
        const on_news = followed.get(job.id);
        if (["done", "failed", "stopped", "unknown"].includes(job.state)) followed.delete(job.id);
        on_news?.(job);
      }
    } catch (error) {
      if (error.name === "AbortError") continue;
      failures += 1;
      for (const [id, on_news] of followed) {
        if (failures > 3) followed.delete(id);
        on_news({ id, state: failures > 3 ? "stopped" : "silent", message: error.message });
      }
      await pause(2);
    }
  }
  current = null;
}

export const read_result = async (id) => (await (await ask(`api/jobs/${id}`)).json()).annotations;

// keepalive: also when the page is closed.
export function forget(id) {
  followed.delete(id);
  fetch(`api/jobs/${id}`, { method: "DELETE", keepalive: true }).catch(() => null);
}

export async function write_file(format, annotations) {
  const answer = await ask(`api/files/${format}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(annotations),
  });
  const name = decodeURIComponent(answer.headers.get("Content-Disposition").split("''")[1]);
  return { name, content: await answer.blob() };
}

export function add_to_corpus(file, annotations, speaker) {
  const form = new FormData();
  form.append("audio", file, file.name);
  form.append("annotations", JSON.stringify(annotations));
  form.append("speaker", speaker);
  return send("api/corpus", form, () => null);
}
