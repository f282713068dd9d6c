// Overview first: the first figure should be there at once.
offerFiles();
if (composed.length) {
  buildFilters();
  buildOverview();
  buildTable();
  buildTrade();
  buildDetail();
  buildChains();
} else byId("stages").replaceChildren(...stageTable(data.walks));
