// Our client against genuine servers from the npm registry and from PyPI, over every transport that they have.

import { testClient } from './lib/client-cases.mjs';
import { GENUINE, PYTHON } from './lib/servers.mjs';

testClient([...GENUINE, ...PYTHON]);
