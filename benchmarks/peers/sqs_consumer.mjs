// sqs-consumer on Node.js, in batches of ten: `node sqs_consumer.mjs`, with AWS_ENDPOINT_URL.

import { SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const WARM_UP = 300, COUNT = 1000;
let handled = 0, began;

const reading = () => {
  const { user, system } = process.cpuUsage();
  return { seconds: performance.now() / 1e3, cpu: (user + system) / 1e6 };
};

const count = (message) => {
  JSON.parse(message.Body);
  handled += 1;
  if (handled === WARM_UP) began = reading();
  if (handled === WARM_UP + COUNT) {
    const now = reading();
    console.log(JSON.stringify({
      seconds: (now.seconds - began.seconds) / COUNT,
      cpu: (now.cpu - began.cpu) / COUNT,
    }));
    process.exit(0);
  }
};

Consumer.create({
  queueUrl: `${process.env.AWS_ENDPOINT_URL}/000000000000/bench-queue`,
  sqs: new SQSClient({ endpoint: process.env.AWS_ENDPOINT_URL, region: "us-east-1" }),
  batchSize: 10,
  waitTimeSeconds: 1,
  messageAttributeNames: ["All"],
  handleMessageBatch: async (messages) => { messages.forEach(count); return messages; },
}).start();
