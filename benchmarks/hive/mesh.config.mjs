// What Hive Gateway serves: the methods of one gRPC service, as GraphQL Mesh composes them from its protos.
// UPSTREAM is HOST:PORT of the service, PROTOS the folder of its protos.
import { fileURLToPath } from "node:url";
import { defineConfig } from "@graphql-mesh/compose-cli";
import { loadGrpcSubgraph } from "@omnigraph/grpc";

// google/api/annotations.proto comes with protobufjs.
const common = fileURLToPath(new URL("node_modules/protobufjs", import.meta.url));

export const composeConfig = defineConfig({
  subgraphs: [
    {
      sourceHandler: loadGrpcSubgraph("Orders", {
        endpoint: process.env.UPSTREAM,
        source: {
          file: `${process.env.PROTOS}/bench/v1/bench.proto`,
          load: { includeDirs: [process.env.PROTOS, common] },
        },
      }),
    },
  ],
});
