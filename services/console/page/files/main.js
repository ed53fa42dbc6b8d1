// The page: a picture of the event path, live decisions, and the operators' tabs.

import { decided, startDecisions } from "./decisions.js";
import { startLaboratory } from "./laboratory.js";
import { startLineage } from "./lineage.js";
import { counted, startOperate } from "./operate.js";
import { startOperator } from "./operator.js";
import { serviceChanged } from "./services.js";
import { showStation, startStation, stationNews } from "./station.js";
import { startStream } from "./stream.js";
import { settled, startWay, stationChanged, travelled } from "./way.js";

startWay(showStation);
startStation();
startOperator();
startDecisions();
startLineage();
startOperate();
startLaboratory();
startStream({
  decision(decision) { decided(decision); travelled(decision); },
  settled,
  station(station) { stationChanged(station); counted(station); stationNews(); },
  service: serviceChanged,
});
