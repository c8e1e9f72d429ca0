// What Node's own HTTP client and WebSocket make of the emulator: one line of JSON on stdout.
import http from "node:http";

const [base, token] = process.argv.slice(2);
const { hostname, port } = new URL(base);
const body = JSON.stringify({ timeout_ms: 3600000 });
const headers = { "x-api-key": process.env.API_KEY, "Content-Type": "application/json" };

function ask(options, onContinue) {
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, method: "POST", path: "/v1/desktop", ...options });
    let asked = false;
    request.on("continue", () => { asked = true; onContinue?.(request); });
    request.on("response", (response) => {
      response.resume();
      response.on("end", () => resolve({ status: response.statusCode, asked }));
    });
    request.on("error", reject);
    if (onContinue) request.flushHeaders();
    else request.end(body);
  });
}

function upgrade(path, extra) {
  return new Promise((resolve, reject) => {
    const request = http.request({
      hostname, port, path,
      headers: {
        Connection: "keep-alive, Upgrade", Upgrade: "websocket",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", ...extra,
      },
    });
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, protocol: response.headers["sec-websocket-protocol"] });
    });
    request.on("response", (response) => reject(new Error(`refused: ${response.statusCode}`)));
    request.on("error", reject);
    request.end();
  });
}

// Null where Node has no WebSocket of its own.
function socket(path, protocols) {
  if (typeof WebSocket === "undefined") return null;
  return new Promise((resolve, reject) => {
    const opened = new WebSocket(base.replace("http", "ws") + path, protocols);
    opened.binaryType = "arraybuffer";
    opened.onerror = (event) => reject(new Error(event.message || "the WebSocket failed"));
    opened.onmessage = (event) => {
      const said = Buffer.from(event.data).toString("latin1");
      opened.onclose = () => resolve({ protocol: opened.protocol, said });
      opened.close();
    };
  });
}

const viewer = `/vnc-viewer/${token}`;
const found = {
  sized: await ask(
    { headers: { ...headers, Expect: "100-continue", "Content-Length": body.length } },
    (request) => request.end(body),
  ),
  chunked: await ask(
    { headers: { ...headers, Expect: "100-continue", "Transfer-Encoding": "chunked" } },
    (request) => request.end(body),
  ),
  unknown: await ask({ headers: { ...headers, Expect: "a-miracle", "Content-Length": body.length } }),
  encoded: await ask({ headers: { ...headers, "Content-Encoding": "br" } }),
  absolute: await ask({ path: `${base}/v1/desktop`, headers }),
  fetched: (await fetch(`${base}/v1/desktop`, { method: "POST", headers, body })).status,
  upgraded: await upgrade(viewer, { "Sec-WebSocket-Protocol": "binary" }),
  viewed: await socket(viewer, ["binary"]),
  viewed_by_older_ones: await socket(viewer, ["base64", "binary"]),
};
console.log(JSON.stringify(found));
process.exit(0);
