"use strict";
(() => {
  const root = document.getElementById("view");
  if (!root) return;
  const data = JSON.parse(document.getElementById("scene").textContent);
  const canvas = root.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) {
    root.querySelector(".tools").remove();
    const text = document.createElement("p");
    text.className = "fallback";
    text.textContent = "This browser has no WebGL 2, which the 3D view needs. The pictures above show the same shapes.";
    canvas.replaceWith(text);
    return;
  }

  // --- data ---------------------------------------------------------------------------------------------------
  const bytes = (text) => {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out.buffer;
  };
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4));
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16) / 255);
  const stops = data.stops.map(([at, hex]) => [at, rgb(hex)]);
  const quality = (t) => {
    t = Math.min(1, Math.max(0, t));
    let k = 1;
    while (k < stops.length - 1 && stops[k][0] < t) k++;
    const [a, u] = stops[k - 1], [b, v] = stops[k], s = (t - a) / (b - a);
    return [0, 1, 2].map((i) => linear(u[i] + s * (v[i] - u[i])));
  };
  const clay = rgb(data.clay).map(linear), inside = rgb("#c6d0d6").map(linear);
  const shapes = data.shapes.map((s) => {
    const out = { ...s };
    if (s.points) out.points = new Float32Array(bytes(s.points));
    if (s.frames) {
      out.frames = new Uint16Array(bytes(s.frames));
      out.points = new Float32Array(out.frames.length / s.times.length);
    }
    if (s.obstacles)
      out.obstacles = s.obstacles.map((o) => ({ lines: new Float32Array(bytes(o.lines)), offsets: new Float32Array(bytes(o.offsets)) }));
    if (s.faces) out.faces = new Uint32Array(bytes(s.faces));
    if (s.tets) out.tets = new Uint32Array(bytes(s.tets));
    if (s.quality) out.quality = new Float32Array(bytes(s.quality));
    if (s.openness) out.openness = new Uint8Array(bytes(s.openness));
    if (s.normals) out.normals = new Int8Array(bytes(s.normals));
    return out;
  });

  // Every face of a tet mesh once, with the tets on its two sides (-1: none): sorted by lowest vertex, then matched.
  const adjacency = (shape) => {
    const t = shape.tets, corner = [[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]], buckets = new Map(), faces = [];
    const count = shape.points.length / 3;
    for (let k = 0; k < t.length / 4; k++) {
      for (const c of corner) {
        const a = t[4 * k + c[0]], b = t[4 * k + c[1]], d = t[4 * k + c[2]];
        const low = Math.min(a, b, d), high = Math.max(a, b, d), middle = a + b + d - low - high;
        const key = low * count * count < 2 ** 52 ? (low * count + middle) * count + high : low + "," + middle + "," + high;
        const other = buckets.get(key);
        if (other === undefined) { buckets.set(key, faces.length); faces.push([a, b, d, k, -1]); } else faces[other][4] = k;
      }
    }
    return faces;
  };
  const centers = (shape) => {
    const t = shape.tets, p = shape.points, out = new Float32Array(3 * t.length / 4);
    for (let k = 0; k < t.length / 4; k++)
      for (let i = 0; i < 3; i++)
        out[3 * k + i] = (p[3 * t[4 * k] + i] + p[3 * t[4 * k + 1] + i] + p[3 * t[4 * k + 2] + i] + p[3 * t[4 * k + 3] + i]) / 4;
    return out;
  };
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const unit = (a) => { const n = Math.hypot(...a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
  const at = (p, i) => [p[3 * i], p[3 * i + 1], p[3 * i + 2]];
  const smallestAngle = (a, b, c) => {
    let least = 180;
    for (const [p, q, r] of [[a, b, c], [b, c, a], [c, a, b]]) {
      const u = unit(minus(q, p)), v = unit(minus(r, p));
      least = Math.min(least, Math.acos(Math.min(1, Math.max(-1, dot(u, v)))) * 180 / Math.PI);
    }
    return least;
  };

  // --- buffers: one vertex per corner, so that edges and flat faces can be drawn ---------------------------------
  const build = (shape, ui) => {
    const p = shape.points;
    if (shape.kind === "points") {
      const n = p.length / 3, normal = new Float32Array(3 * n), color = new Uint8Array(4 * n);
      if (shape.normals) for (let i = 0; i < 3 * n; i++) normal[i] = shape.normals[i] / 127;
      const c = rgb(data.blue);
      for (let i = 0; i < n; i++) for (let k = 0; k < 4; k++) color[4 * i + k] = k < 3 ? 255 * c[k] : 255;
      return { position: p, normal, color, count: n, shown: n };
    }
    if (shape.kind === "motion") return buildMotion(shape);
    let rows, owner = null, skin = null;
    const axis = ui.axis % 3, cut = ui.cuts[shape.kind], sign = ui.axis < 3 ? 1 : -1;
    if (shape.kind === "surface") {
      rows = shape.faces;
      if (cut < 1) {
        const limit = shape.low[axis] + (sign > 0 ? cut : 1 - cut) * (shape.high[axis] - shape.low[axis]), keep = [];
        for (let f = 0; f < rows.length; f += 3) {
          const m = (p[3 * rows[f] + axis] + p[3 * rows[f + 1] + axis] + p[3 * rows[f + 2] + axis]) / 3;
          if (sign * m <= sign * limit) keep.push(rows[f], rows[f + 1], rows[f + 2]);
        }
        rows = keep;
      }
    } else {
      shape.sides ||= adjacency(shape);
      shape.centers ||= centers(shape);
      const limit = shape.low[axis] + (sign > 0 ? cut : 1 - cut) * (shape.high[axis] - shape.low[axis]);
      const open = cut >= 1, kept = (k) =>
        k >= 0 && (open || sign * shape.centers[3 * k + axis] <= sign * limit) && shape.quality[k] <= ui.worst;
      rows = []; owner = []; skin = []; shape.kept = 0;
      for (let k = 0; k < shape.quality.length; k++) shape.kept += kept(k);
      for (const [a, b, c, left, right] of shape.sides) {
        const l = kept(left), r = kept(right);
        if (l === r) continue;
        rows.push(a, ...(l ? [b, c] : [c, b]));
        owner.push(l ? left : right);
        skin.push(right < 0);
      }
    }
    const faces = rows.length / 3, position = new Float32Array(9 * faces), normal = new Float32Array(9 * faces);
    const color = new Uint8Array(12 * faces), smooth = shape.kind === "surface" ? vertexNormals(shape) : null;
    for (let f = 0; f < faces; f++) {
      const i = [rows[3 * f], rows[3 * f + 1], rows[3 * f + 2]], [a, b, c] = i.map((k) => at(p, k));
      const flat = unit(cross(minus(b, a), minus(c, a)));
      let paint = clay;
      if (owner) {
        if (ui.color === "all" || (ui.color === "cut" && (!skin[f] || ui.worst < 180))) paint = quality(shape.quality[owner[f]] / data.best);
        else if (!skin[f]) paint = inside;
      } else if (ui.color === "all") paint = quality(smallestAngle(a, b, c) / 60);
      i.forEach((v, k) => {
        position.set(k === 0 ? a : k === 1 ? b : c, 9 * f + 3 * k);
        const s = smooth ? at(smooth, v) : flat;
        normal.set(smooth && dot(s, s) > 0 ? s : flat, 9 * f + 3 * k);
        for (let j = 0; j < 3; j++) color[12 * f + 4 * k + j] = 255 * Math.pow(paint[j], 1 / 2.2);
        color[12 * f + 4 * k + 3] = shape.openness ? shape.openness[v] : 255;
      });
    }
    return { position, normal, color, count: 3 * faces, shown: faces };
  };
  const vertexNormals = (shape) => {
    if (shape.smooth) return shape.smooth;
    const p = shape.points, n = new Float32Array(p.length), f = shape.faces;
    for (let k = 0; k < f.length; k += 3) {
      const a = at(p, f[k]), w = cross(minus(at(p, f[k + 1]), a), minus(at(p, f[k + 2]), a));
      for (let c = 0; c < 3; c++) for (let j = 0; j < 3; j++) n[3 * f[k + c] + j] += w[j];
    }
    for (let v = 0; v < n.length / 3; v++) n.set(unit(at(n, v)), 3 * v);
    // A vertex whose faces bend by more than 50 degrees lies on a crease: it stays flat, marked by a zero normal.
    const creased = new Uint8Array(n.length / 3);
    for (let k = 0; k < f.length; k += 3) {
      const a = at(p, f[k]), w = unit(cross(minus(at(p, f[k + 1]), a), minus(at(p, f[k + 2]), a)));
      for (let c = 0; c < 3; c++) if (dot(at(n, f[k + c]), w) < 0.64) creased[f[k + c]] = 1;
    }
    creased.forEach((bent, v) => { if (bent) n.fill(0, 3 * v, 3 * v + 3); });
    return (shape.smooth = n);
  };
  // --- motion: the positions at a time, between the two kept frames around it --------------------------------------
  const moment = (shape, share) => {
    const t = shape.times, time = t[0] + share * (t[t.length - 1] - t[0]);
    let k = 1;
    while (k < t.length - 1 && t[k] < time) k++;
    return { time, k, s: Math.min(1, Math.max(0, (time - t[k - 1]) / (t[k] - t[k - 1]))) };
  };
  const pose = (shape, share) => {
    const { time, k, s } = moment(shape, share), n = shape.points.length, before = n * (k - 1), after = n * k;
    const scale = [0, 1, 2].map((i) => (shape.high[i] - shape.low[i]) / 65535);
    for (let i = 0; i < n; i++) {
      const a = shape.frames[before + i], b = shape.frames[after + i];
      shape.points[i] = shape.low[i % 3] + scale[i % 3] * (a + s * (b - a));
    }
    return time;
  };
  const obstacleLines = (shape, share) => {
    const { k, s } = moment(shape, share), out = [];
    for (const { lines, offsets } of shape.obstacles)
      for (let i = 0; i < lines.length; i++) {
        const a = offsets[3 * (k - 1) + i % 3], b = offsets[3 * k + i % 3];
        out.push(lines[i] + a + s * (b - a));
      }
    return out;
  };
  const FLOOR = 24;
  const floorLines = (shape) => {
    const z = shape.low[2], out = [], middle = [0, 1].map((i) => 0.5 * (shape.low[i] + shape.high[i]));
    const half = 0.75 * Math.max(...[0, 1].map((i) => shape.high[i] - shape.low[i]), shape.high[2] - z);
    for (let k = 0; k <= FLOOR; k++) {
      const at = half * (2 * k / FLOOR - 1);
      out.push(middle[0] + at, middle[1] - half, z, middle[0] + at, middle[1] + half, z);
      out.push(middle[0] - half, middle[1] + at, z, middle[0] + half, middle[1] + at, z);
    }
    return out;
  };
  const buildMotion = (shape) => {
    const p = shape.points, f = shape.faces, corners = f.length;
    if (!shape.buffers) {
      pose(shape, 0);
      const smooth = vertexNormals(shape), lines = floorLines(shape).concat(obstacleLines(shape, 0)), total = corners + lines.length / 3;
      shape.sharp = new Uint8Array(p.length / 3).map((_, v) => !(smooth[3 * v] || smooth[3 * v + 1] || smooth[3 * v + 2]));
      shape.sums = new Float32Array(p.length);
      shape.flat = new Float32Array(corners);
      const position = new Float32Array(3 * total), normal = new Float32Array(3 * total), color = new Uint8Array(4 * total);
      const body = clay.map((c) => 255 * Math.pow(c, 1 / 2.2));
      const floor = corners + floorLines(shape).length / 3;
      for (let k = 0; k < total; k++)
        color.set(k < corners ? [...body, 255] : k < floor ? [120, 130, 140, 255] : [44, 111, 158, 255], 4 * k);
      position.set(lines, 3 * corners);
      for (let k = corners; k < total; k++) normal[3 * k + 2] = 1;
      shape.buffers = { position, normal, color, count: corners, shown: corners / 3, lines: lines.length / 3, floor };
    }
    ui.clock = pose(shape, ui.time);
    const { position, normal, floor } = shape.buffers, { sums, flat, sharp } = shape;
    position.set(obstacleLines(shape, ui.time), 3 * floor);
    sums.fill(0);
    for (let k = 0; k < corners; k += 3) {
      const a = 3 * f[k], b = 3 * f[k + 1], c = 3 * f[k + 2];
      const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
      const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
      const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (let i = 0; i < 3; i++) { flat[k + i] = n[i]; sums[a + i] += n[i]; sums[b + i] += n[i]; sums[c + i] += n[i]; }
    }
    for (let k = 0; k < corners; k++) {
      const v = 3 * f[k], bent = sharp[f[k]], face = k - k % 3;
      for (let i = 0; i < 3; i++) { position[3 * k + i] = p[v + i]; normal[3 * k + i] = bent ? flat[face + i] : sums[v + i]; }
      const length = Math.hypot(normal[3 * k], normal[3 * k + 1], normal[3 * k + 2]) || 1;
      for (let i = 0; i < 3; i++) normal[3 * k + i] /= length;
    }
    return shape.buffers;
  };
  for (const s of shapes) {
    if (s.kind === "motion") continue;
    s.low = [9, 9, 9]; s.high = [-9, -9, -9];
    for (let k = 0; k < s.points.length; k++) {
      s.low[k % 3] = Math.min(s.low[k % 3], s.points[k]);
      s.high[k % 3] = Math.max(s.high[k % 3], s.points[k]);
    }
  }

  // --- programs -------------------------------------------------------------------------------------------------
  const vertexSource = `#version 300 es
    layout(location=0) in vec3 position; layout(location=1) in vec3 normal; layout(location=2) in vec4 color;
    uniform mat4 project; uniform mat3 turn; uniform vec3 target; uniform float distance, size; uniform bool splat;
    out vec3 n; out vec4 c; out vec3 weights;
    void main() {
      vec3 q = turn * (position - target);
      n = turn * normal; c = color;
      int k = gl_VertexID % 3;
      weights = vec3(k == 0, k == 1, k == 2);
      gl_Position = project * vec4(q.xy, q.z - distance, 1.0);
      if (splat) gl_PointSize = max(1.5, size / gl_Position.w);
    }`;
  const fragmentSource = `#version 300 es
    precision highp float;
    in vec3 n; in vec4 c; in vec3 weights;
    uniform bool splat, shaped; uniform float wire, ratio, fill; uniform vec3 up;
    out vec4 color;
    vec3 toLinear(vec3 s) { return pow(s, vec3(2.2)); }
    void main() {
      vec3 m = n, albedo = toLinear(c.rgb); float free = c.a;
      if (splat) {
        vec2 d = 2.0 * gl_PointCoord - 1.0; float r = dot(d, d);
        if (r > 1.0) discard;
        vec3 ball = vec3(d.x, -d.y, sqrt(1.0 - r));
        m = shaped ? normalize(0.6 * (m.z < 0.0 ? -m : m) + 0.4 * ball) : ball;
      } else {
        m = normalize(m);
        if (!gl_FrontFacing) { m = -m; albedo *= vec3(0.85, 0.55, 0.42); free = 0.6; }
      }
      float around = fill + 0.30 * 0.5 * (1.0 + dot(m, up));
      float direct = 0.62 * max(dot(m, normalize(vec3(-0.55, 0.75, 0.62))), 0.0) * (0.35 + 0.65 * free);
      float head = 0.24 * max(m.z, 0.0) * (0.5 + 0.5 * free);
      vec3 light = albedo * (free * around + direct + head);
      if (!splat && wire > 0.0) {
        vec3 e = weights / max(fwidth(weights), 1e-6);
        float near = min(e.x, min(e.y, e.z));
        light = mix(light, vec3(0.012, 0.02, 0.033), wire * clamp(0.45 * ratio + 0.5 - near, 0.0, 1.0));
      }
      color = vec4(pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
    }`;
  const compile = (kind, source) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source); gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    return shader;
  };
  const program = gl.createProgram();
  gl.attachShader(program, compile(gl.VERTEX_SHADER, vertexSource));
  gl.attachShader(program, compile(gl.FRAGMENT_SHADER, fragmentSource));
  gl.linkProgram(program); gl.useProgram(program);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const at_ = Object.fromEntries(
    ["project", "turn", "target", "distance", "size", "splat", "shaped", "wire", "ratio", "fill", "up"].map((n) => [n, uniform(n)]));
  const buffers = [0, 1, 2].map(() => gl.createBuffer());
  gl.enable(gl.DEPTH_TEST);

  // --- state ----------------------------------------------------------------------------------------------------
  const ui = { shape: data.first ?? shapes.length - 1, time: 0, clock: 0, playing: false, wire: true, color: "cut", cuts: { surface: 1, tets: 0.55 }, axis: 4, worst: 180 };
  const home = { azimuth: 32, elevation: 17, distance: 2.45, target: [0, 0, 0] };
  let eye = { ...home, target: [...home.target] }, drawn = null, stale = true, waiting = false;
  const extent = (s) => Math.hypot(...minus(s.high, s.low));
  const spread = Math.max(...shapes.filter((s) => s.kind !== "motion").map(extent));
  home.distance = eye.distance = 2.05 * spread;
  const axes = () => {
    const a = eye.azimuth * Math.PI / 180, e = eye.elevation * Math.PI / 180;
    const back = [Math.sin(a) * Math.cos(e), -Math.cos(a) * Math.cos(e), Math.sin(e)];
    const right = [Math.cos(a), Math.sin(a), 0];
    return { right, up: cross(back, right), back };
  };
  const refresh = (again = false) => {
    stale ||= again;
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  };
  const draw = (now) => {
    waiting = false;
    if (ui.playing) advance(now);
    const ratio = Math.min(devicePixelRatio || 1, 2), w = Math.round(canvas.clientWidth * ratio), h = Math.round(canvas.clientHeight * ratio);
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const shape = shapes[ui.shape];
    if (stale) {
      drawn = build(shape, ui); stale = false;
      [[drawn.position, 3, gl.FLOAT, false], [drawn.normal, 3, gl.FLOAT, false], [drawn.color, 4, gl.UNSIGNED_BYTE, true]]
        .forEach(([array, width, type, norm], k) => {
          gl.bindBuffer(gl.ARRAY_BUFFER, buffers[k]);
          gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
          gl.enableVertexAttribArray(k);
          gl.vertexAttribPointer(k, width, type, norm, 0, 0);
        });
      describe(shape);
    }
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const { right, up, back } = axes(), f = 1 / Math.tan(Math.PI / 15) * Math.min(1, w / h), near = 0.02, far = 20;
    gl.uniformMatrix4fv(at_.project, false, [f * h / w, 0, 0, 0, 0, f, 0, 0, 0, 0, (near + far) / (near - far), -1, 0, 0, 2 * near * far / (near - far), 0]);
    gl.uniformMatrix3fv(at_.turn, false, [right[0], up[0], back[0], right[1], up[1], back[1], right[2], up[2], back[2]]);
    gl.uniform3fv(at_.target, eye.target);
    gl.uniform3f(at_.up, right[2], up[2], back[2]);
    gl.uniform1f(at_.distance, eye.distance * (shape.kind === "motion" ? Math.max(1, extent(shape) / spread) : 1));
    gl.uniform1f(at_.size, (shape.radius || 0.003) * f * h);
    gl.uniform1i(at_.splat, shape.kind === "points");
    gl.uniform1i(at_.shaped, !!shape.normals);
    gl.uniform1f(at_.ratio, ratio);
    gl.uniform1f(at_.fill, shape.kind === "tets" ? 0.24 : 0.1);
    gl.uniform1f(at_.wire, ui.wire ? (shape.kind === "tets" ? 0.8 : 0.5 * Math.min(1, Math.sqrt(6000 / (drawn.count / 3)))) : 0);
    gl.drawArrays(shape.kind === "points" ? gl.POINTS : gl.TRIANGLES, 0, drawn.count);
    if (drawn.lines) {
      gl.uniform1f(at_.wire, 0);
      gl.drawArrays(gl.LINES, drawn.count, drawn.lines);
    }
    root.dataset.drawn = String(drawn.count);
  };

  // --- controls -------------------------------------------------------------------------------------------------
  const find = (name) => root.querySelector(`[name=${name}]`);
  const group = (n) => n.toLocaleString("en-US");
  const describe = (shape) => {
    const n = shape.points.length / 3;
    const text = shape.kind === "points" ? `${group(n)} points.`
      : shape.kind === "motion" ? `The boundary of the mesh in this test, ${shape.times.length} kept frames; between them it is interpolated.`
      : shape.kind === "surface" ? `${group(shape.faces.length / 3)} triangles, ${group(n)} vertices.`
      : `${group(shape.kept)} of ${group(shape.quality.length)} tets.`;
    root.querySelector(".note").textContent = `${text} ${shape.note}`;
    root.querySelectorAll("[data-for]").forEach((e) => { e.hidden = !e.dataset.for.split(" ").includes(shape.kind); });
    const cut = ui.cuts[shape.kind] ?? 1;
    find("cut").value = 100 * cut;
    find("cutted").textContent = cut >= 1 ? "off" : `${Math.round(100 * cut)} %`;
    find("limit").textContent = ui.worst >= 71 ? "all" : `≤ ${ui.worst}°`;
    if (shape.kind !== "motion") return;
    find("time").value = 1000 * ui.time;
    const digits = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(seconds(shape)))));
    const slower = shownSeconds(shape) / seconds(shape), slow = slower > 1.05 ? `, slowed ${Number(slower.toPrecision(2))} times` : "";
    find("clock").textContent = !shape.timed ? `${Math.round(100 * ui.time)} % of the load` : `${ui.clock.toFixed(digits)} of ${shape.times[shape.times.length - 1].toFixed(digits)} s${slow}`;
    find("play").textContent = ui.playing ? "❚❚ Pause" : "▶ Play";
    root.dataset.time = String(ui.time);
  };

  // --- player ---------------------------------------------------------------------------------------------------
  // A fall of a small body lasts a tenth of a second: shorter ones are slowed to be seen, longer ones shown as they are.
  const seconds = (shape) => shape.times[shape.times.length - 1] - shape.times[0];
  const shownSeconds = (shape) => Math.max(3, seconds(shape));
  let last = null;
  const advance = (now) => {
    const shape = shapes[ui.shape];
    if (shape.kind !== "motion") { ui.playing = false; return; }
    ui.time += last === null ? 0 : (now - last) / 1000 / shownSeconds(shape);
    last = now;
    if (ui.time >= 1) { ui.time = 1; ui.playing = false; }
    stale = true;
    if (ui.playing) { waiting = true; requestAnimationFrame(draw); }
  };
  const play = (on) => {
    ui.playing = on; last = null;
    if (on && ui.time >= 1) ui.time = 0;
    refresh(true);
  };
  const buttons = root.querySelector(".shapes");
  shapes.forEach((s, k) => {
    const button = document.createElement("button");
    button.type = "button"; button.textContent = s.label;
    button.addEventListener("click", () => {
      ui.shape = k; ui.time = 0; ui.playing = false; press();
      if (s.kind === "motion" && !matchMedia("(prefers-reduced-motion: reduce)").matches) play(true);
      else refresh(true);
    });
    buttons.append(button);
  });
  const press = () => [...buttons.children].forEach((b, k) => b.setAttribute("aria-pressed", String(k === ui.shape)));
  press();
  find("play").addEventListener("click", () => play(!ui.playing));
  find("time").addEventListener("input", (e) => { ui.playing = false; ui.time = e.target.value / 1000; refresh(true); });
  find("wire").addEventListener("change", (e) => { ui.wire = e.target.checked; refresh(); });
  find("color").addEventListener("change", (e) => { ui.color = e.target.value; refresh(true); });
  find("axis").addEventListener("change", (e) => {
    ui.axis = Number(e.target.value);
    const kind = shapes[ui.shape].kind;
    if (ui.cuts[kind] >= 1) ui.cuts[kind] = 0.5;
    refresh(true);
  });
  find("cut").addEventListener("input", (e) => { ui.cuts[shapes[ui.shape].kind] = e.target.value / 100; refresh(true); });
  find("worst").addEventListener("input", (e) => { ui.worst = Number(e.target.value) >= 71 ? 180 : Number(e.target.value); refresh(true); });
  const reset = () => { eye = { ...home, target: [...home.target] }; refresh(); };
  find("home").addEventListener("click", reset);

  const fingers = new Map();
  const turn = (dx, dy) => {
    eye.azimuth -= 0.4 * dx;
    eye.elevation = Math.max(-89, Math.min(89, eye.elevation + 0.4 * dy));
    refresh();
  };
  const shift = (dx, dy) => {
    const { right, up } = axes(), s = 2 * eye.distance * Math.tan(Math.PI / 15) / canvas.clientHeight;
    for (let k = 0; k < 3; k++) eye.target[k] += s * (dy * up[k] - dx * right[k]);
    refresh();
  };
  const zoom = (factor) => { eye.distance = Math.max(0.15, Math.min(12, eye.distance * factor)); refresh(); };
  canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); fingers.set(e.pointerId, [e.clientX, e.clientY]); });
  canvas.addEventListener("pointermove", (e) => {
    const last = fingers.get(e.pointerId);
    if (!last) return;
    const dx = e.clientX - last[0], dy = e.clientY - last[1];
    if (fingers.size === 2) {
      const other = [...fingers.entries()].find(([id]) => id !== e.pointerId)[1];
      const before = Math.hypot(last[0] - other[0], last[1] - other[1]), now = Math.hypot(e.clientX - other[0], e.clientY - other[1]);
      if (before > 0 && now > 0) zoom(before / now);
      shift(dx / 2, dy / 2);
    } else if (e.buttons & 2 || e.shiftKey) shift(dx, dy);
    else turn(dx, dy);
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => fingers.delete(e.pointerId));
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(0.0012 * e.deltaY)); }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] }[e.key];
    if (step) turn(...step);
    else if (e.key === "+" || e.key === "=") zoom(0.9);
    else if (e.key === "-") zoom(1.1);
    else return;
    e.preventDefault();
  });
  canvas.addEventListener("webglcontextlost", (e) => e.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => location.reload());
  new ResizeObserver(() => refresh()).observe(canvas);
  refresh(true);
})();
