// node-oidc-provider with client credentials, introspection, revocation and resource indicators, for one test.
//
// Its configuration is one line of JSON on standard input; it says its issuer in one line of JSON on standard output, and
// ends when standard input does.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

// clients: [{ id, secret }]; resources: { URI: 'opaque' or 'jwt' }; tls: { certificate, key }, two paths, or none.
function serve({ clients, resources, tls }) {
  const server = tls
    ? https.createServer({ cert: readFileSync(tls.certificate), key: readFileSync(tls.key) })
    : http.createServer();
  server.listen(0, '127.0.0.1', () => {
    const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
    server.on('request', provider(issuer, clients, resources).callback());
    console.log(JSON.stringify({ issuer }));
  });
}

function provider(issuer, clients, resources) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return new Provider(issuer, {
    clients: clients.map(({ id, secret }) => ({
      client_id: id,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    scopes: ['read'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: 'read',
          accessTokenFormat: resources[resource],
        }),
      },
    },
  });
}

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => serve(JSON.parse(line)));
lines.once('close', () => process.exit());
