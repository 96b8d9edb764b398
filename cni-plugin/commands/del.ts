/** DEL: removes what is left of an attachment, any number of times, with or without namespace, record and daemon. */

import { openAddresses } from "../host/addresses.ts";
import { currentDelegate, openNetnsIfPresent, statesOf } from "../host/host.ts";
import type { Call } from "../protocol/call.ts";
import { removeAttachment } from "./remove.ts";

export async function del(call: Call): Promise<null> {
  const states = statesOf(call);
  const recorded = states.read(call);
  const delegate = recorded ?? currentDelegate(call);
  const netns = openNetnsIfPresent(call.netnsPath);
  try {
    await removeAttachment(
      call,
      { attachment: call, delegate, isRecorded: recorded !== null, netns },
      (dataDir) => openAddresses(dataDir, call.networkName).list(),
    );
  } finally {
    netns?.close();
  }
  states.remove(call);
  return null;
}
