// What people write on Node: Fastify, a route per method, @grpc/grpc-js behind it, GraphQL by mercurius.
//
//   node server.mjs PORT UPSTREAM FOLDER_OF_PROTOS
//
// Messages come as proto-loader makes them (longs and enums as text); times are turned into text here,
// as every team does. No policies.
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import Fastify from "fastify";
import mercurius from "mercurius";

const [port, upstream, protos] = process.argv.slice(2);
// google/api/annotations.proto comes with protobufjs.
const common = fileURLToPath(new URL("node_modules/protobufjs", import.meta.url));
const loaded = loadSync("bench/v1/bench.proto", {
  includeDirs: [protos, common],
  longs: String,
  enums: String,
});
const { OrderService } = grpc.loadPackageDefinition(loaded).bench.v1;
const client = new OrderService(upstream, grpc.credentials.createInsecure());

const call = (method) => {
  const ask = promisify(client[method]).bind(client);
  return (request) => ask(request, { deadline: Date.now() + 5000 });
};
const getCustomer = call("GetCustomer");
const getMedium = call("GetMedium");
const getShipment = call("GetShipment");
const placeOrder = call("PlaceOrder");

const timeOf = ({ seconds = "0", nanos = 0 }) =>
  new Date(Number(seconds) * 1000 + nanos / 1e6).toISOString().replace(".000Z", "Z");
const timeFrom = (text) => {
  const milliseconds = Date.parse(text);
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1e6 };
};

// The times of an order, with `turn` for each.
const withTimes = (order, turn) => ({
  ...order,
  ...(order.createdAt && { createdAt: turn(order.createdAt) }),
  ...(order.updatedAt && { updatedAt: turn(order.updatedAt) }),
  ...(order.items && {
    items: order.items.map((item) =>
      item.promisedAt ? { ...item, promisedAt: turn(item.promisedAt) } : item,
    ),
  }),
});

const screenOf = (customer, order, shipment) => ({
  customer: { name: customer.displayName, tier: customer.tier },
  order: {
    id: order.orderId,
    status: order.status,
    total: order.total,
    items: order.items.map(({ title, quantity, unitPrice }) => ({
      title,
      quantity,
      price: unitPrice,
    })),
  },
  shipment: {
    carrier: shipment.carrier,
    events: shipment.events.map(({ place, at }) => ({ place, at: timeOf(at) })),
  },
});

const app = Fastify();

for (const size of ["Small", "Medium", "Large"]) {
  const get = call(`Get${size}`);
  app.get(`/v1/${size.toLowerCase()}/:orderId`, async ({ params }) =>
    withTimes(await get({ orderId: params.orderId }), timeOf),
  );
}

app.post("/v1/orders", async ({ body }) =>
  withTimes(await placeOrder(withTimes(body, timeFrom)), timeOf),
);

app.get("/v1/screens/:customerId/:orderId", async ({ params: { customerId, orderId } }) =>
  screenOf(
    ...(await Promise.all([
      getCustomer({ customerId }),
      getMedium({ orderId }),
      getShipment({ orderId }),
    ])),
  ),
);

app.register(mercurius, {
  // Compiled after a few requests of the same document, as its manual advises.
  jit: 1,
  schema: `
    type Query {
      order(orderId: String): Order
      customer(customerId: String): Customer
      shipment(orderId: String): Shipment
    }
    type Order {
      orderId: String! customerId: String! status: Status total: Money createdAt: String
      updatedAt: String items: [Item!]! revision: String!
    }
    type Item {
      productId: String! title: String! quantity: Int! unitPrice: Money gift: Boolean
      tags: [String!]! promisedAt: String status: Status stockKeepingUnit: String!
    }
    type Money { currencyCode: String! units: String! nanos: Int! }
    type Customer {
      customerId: String! displayName: String! email: String! tier: Tier openOrders: Int!
      memberSince: String
    }
    type Shipment { orderId: String! carrier: String! trackingCode: String! events: [Event!]! }
    type Event { place: String! note: String! at: String }
    enum Status { PLACED PAID SHIPPED }
    enum Tier { STANDARD PREMIUM }
  `,
  resolvers: {
    Query: {
      order: (_, { orderId }) => getMedium({ orderId }),
      customer: (_, { customerId }) => getCustomer({ customerId }),
      shipment: (_, { orderId }) => getShipment({ orderId }),
    },
    Order: {
      status: ({ status }) => status.slice("STATUS_".length),
      createdAt: ({ createdAt }) => timeOf(createdAt),
      updatedAt: ({ updatedAt }) => timeOf(updatedAt),
    },
    Item: {
      status: ({ status }) => status.slice("STATUS_".length),
      promisedAt: ({ promisedAt }) => timeOf(promisedAt),
    },
    Customer: {
      tier: ({ tier }) => tier.slice("TIER_".length),
      memberSince: ({ memberSince }) => timeOf(memberSince),
    },
    Event: { at: ({ at }) => timeOf(at) },
  },
});

const leave = async () => {
  await app.close();
  client.close();
  process.exit(0);
};
process.once("SIGTERM", leave);
process.once("SIGINT", leave);
await app.listen({ host: "127.0.0.1", port: Number(port) });
