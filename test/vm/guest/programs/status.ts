// What `wireonce status --json` prints, without a new process for every question.

import { socketPath, UapiClient } from '../../../../tunnel/daemon/uapi/index.js';
import { serve } from '../serve.js';

serve({ status: (name: string) => new UapiClient(socketPath(name)).status() });
