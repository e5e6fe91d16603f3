// An HTTP server on the port in argv[2].
'use strict';

const http = require('node:http');

// Node leaves the request target to the app: this is what apps make of it.
function path(target) {
  const { pathname } = new URL(target, 'http://upstream');
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname;
  }
}

// Of [name, value, name, value, ...].
function pairs(raw) {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1]]] : []));
}

http
  .createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      const body = JSON.stringify({
        method: request.method,
        path: Buffer.from(path(request.url)).toString('latin1'),
        host: request.headers.host,
        // Trailers too: they are for the app to read.
        headers: pairs(request.rawHeaders.concat(request.rawTrailers)),
      });
      response.setHeader('Content-Type', 'application/json');
      response.setHeader('Content-Length', Buffer.byteLength(body));
      response.end(body);
    });
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
