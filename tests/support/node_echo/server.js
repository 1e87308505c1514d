// The contract of tests/support/echo_contract.py on @grpc/grpc-js: prints its port, ends with its stdin.
"use strict";
const { createRequire } = require("node:module");
const { createHash } = require("node:crypto");
// The packages are installed elsewhere: nothing is written beside this file.
const grpc = createRequire(process.argv[2] + "/")("@grpc/grpc-js");

let begun = 0;
let cancelled = 0;
const keep = (octets) => octets;

function pairs(list) {
  const made = new grpc.Metadata();
  for (const [name, value] of list || []) {
    made.add(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  }
  return made;
}

function answer(call, callback) {
  const at = call.request.indexOf(10);
  const script = JSON.parse(call.request.subarray(0, at));
  if ("ask" in script) {
    callback(null, Buffer.from(`${begun} ${cancelled}`));
    return;
  }
  if (script.hang) {
    begun += 1;
    call.on("cancelled", () => { cancelled += 1; });
    return;
  }
  const trailers = pairs(script.trailers);
  for (const [name, value] of Object.entries(call.metadata.getMap())) {
    if (name.startsWith("x-")) {
      for (const one of call.metadata.get(name)) trailers.add("echo-" + name, one);
    }
  }
  if (script.initial) call.sendMetadata(pairs(script.initial));
  if (script.code) {
    callback({ code: script.code, details: script.details, metadata: trailers });
    return;
  }
  const digest = createHash("sha256").update(call.request).digest();
  const filled = Buffer.alloc(script.size, digest);
  callback(null, filled, trailers);
}

const server = new grpc.Server({
  "grpc.max_receive_message_length": 5 << 20,
  "grpc.max_send_message_length": 5 << 20,
  "grpc.default_compression_algorithm": Number(process.argv[3]),
});
server.addService(
  { Get: { path: "/shop.v1.Orders/Get", requestStream: false, responseStream: false,
    requestSerialize: keep, requestDeserialize: keep, responseSerialize: keep, responseDeserialize: keep } },
  { Get: answer },
);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.stdin.on("end", () => process.exit(0)).resume();
