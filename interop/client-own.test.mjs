// Our client against the server under test, on its runtime. The cases are those with genuine servers.

import { testClient } from './lib/client-cases.mjs';
import { OWN } from './lib/servers.mjs';

testClient(OWN);
