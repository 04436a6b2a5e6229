// Runs the emulator that tests/firestore/install put into the directory which is the argument: on a free port of this
// machine alone, where its own `start` would listen to everybody. Says the port. Ends with its standard input.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "from-here.js"));
const { FirestoreServer } = require("@firestore-emulator/server");
const { ServerCredentials } = require("@grpc/grpc-js");

new FirestoreServer().server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(port);
});
process.stdin.resume().on("end", () => process.exit(0));
